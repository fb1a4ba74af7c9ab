"""All that there is to say of the projects before anything runs."""
