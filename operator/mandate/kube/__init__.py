"""The API server: client, resources, server-side apply, Lease."""
