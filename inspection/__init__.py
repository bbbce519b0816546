"""What a verdict is and how it is made; knows neither folders nor services."""
