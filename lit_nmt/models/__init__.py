"""One file per architecture, behind one protocol."""
