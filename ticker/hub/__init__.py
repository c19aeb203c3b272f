"""One message in, many subscribers out; nothing here waits for a client, and nothing here knows Redis or a web server."""
