"""Sources → split → predict → measure → evidence: the one path that the CLI and the evaluation Job share."""
