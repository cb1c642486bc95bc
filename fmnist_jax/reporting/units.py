"""Numbers as people read them."""


def duration(seconds: float | int) -> str:
    """Such as `48.8 s`, `1 min 52 s` or `2 h 5 min`."""
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes = round(seconds) // 60
    if minutes < 60:
        return f'{minutes} min {round(seconds) % 60} s'
    return f'{minutes // 60} h {minutes % 60} min'


def percent(fraction: float | int, digits: int = 2) -> str:
    """Such as `91.52 %`."""
    return f'{100 * fraction:.{digits}f} %'
