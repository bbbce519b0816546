"""Images -> a model: networks, and limits from what they have not seen."""
