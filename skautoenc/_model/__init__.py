"""Plan, learn, Model: from resolved parameters to what a fit has learnt."""
