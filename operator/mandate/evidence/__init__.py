"""What was measured: the evidence schema, its canonical form and its digest. Pure."""
