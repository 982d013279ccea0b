"""One verdict, told as text, JSON, Markdown or HTML: the same words everywhere. Pure."""
