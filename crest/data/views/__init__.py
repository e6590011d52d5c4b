"""Views: what is made of an image each time it is trained on, drawn apart from being made."""
