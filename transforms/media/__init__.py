"""Images, audio and video from bytes, paths, URIs, arrays and structs of `datasets`."""
