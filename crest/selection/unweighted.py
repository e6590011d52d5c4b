"""What is to be known of medoids that are trained on without their weights."""

# Measured on digits, with a network that is right on 95 to 97% of them.
UNWEIGHTED = (
    "medoids without their weights: the mean gradient of such a mini-batch was three times as far "
    "from its subset's as that of as many examples drawn at random; choose facility_location, "
    "which weighs them, or spatially_stratified"
)
