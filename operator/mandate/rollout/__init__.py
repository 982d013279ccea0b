"""How a model climbs, who answers meanwhile, and how it comes down again. Pure."""
