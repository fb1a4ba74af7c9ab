"""Floor 3, databases: URL, text and path in; rows, files and statements out."""
