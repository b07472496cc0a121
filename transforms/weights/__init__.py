"""Where models come from: the hub, object stores, local files; and onto which device they go."""
