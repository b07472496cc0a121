"""Everything that stands on Beam: the transforms, their stages and their metrics."""
