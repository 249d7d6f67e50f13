"""Runs that have been made: judged, drawn, compared, replayed, and asked who waited for whom."""
