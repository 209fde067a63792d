"""Okabe and Ito's colours, told apart by everybody."""

BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#777777", "#009E73"
