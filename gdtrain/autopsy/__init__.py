"""Why a step was not finite: found and reported."""
