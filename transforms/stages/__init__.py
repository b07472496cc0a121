"""Everything of Beam: the transforms and their stages."""
