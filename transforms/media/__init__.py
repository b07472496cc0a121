"""Images, audio and video as they come: bytes, paths, URIs, arrays, structs of datasets."""
