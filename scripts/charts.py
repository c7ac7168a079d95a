"""Charts as SVG, with nothing but the standard library: what the scripts beside this file draw."""

import html
import math

FONT = 'font-family="DejaVu Sans, Helvetica, Arial, sans-serif"'
COLOURS = ["#1f6fb2", "#d1641d", "#2f8f4e", "#8a4fa3", "#b5343b", "#5c6670"]
INK, FAINT = "#22272e", "#d5d9de"


class Canvas:
    """Shapes on a white page."""

    def __init__(self, width, height):
        self.width, self.height, self.shapes = width, height, []

    def text(self, x, y, words, size=12, anchor="start", colour=INK, weight="normal", turned=False):
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        self.shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}" {FONT}{turn}>{html.escape(str(words))}</text>'
        )

    def box(self, x, y, width, height, fill, edge="none"):
        self.shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}" stroke="{edge}"/>'
        )

    def line(self, x1, y1, x2, y2, colour=INK, width=1.0, dashes=""):
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.shapes.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"{dash}/>'
        )

    def path(self, points, colour, width=1.5, dashes=""):
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        words = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.shapes.append(
            f'<polyline points="{words}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dash}/>'
        )

    def dot(self, x, y, colour, radius=3.5):
        self.shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def save(self, path):
        with open(path, "w") as file:
            file.write(
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
                f'viewBox="0 0 {self.width} {self.height}">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
            )
            file.write("\n".join(self.shapes) + "\n</svg>\n")


def ratio_colour(ratio):
    """Blue above 1, white at 1, red below; full colour at a factor of two."""
    strength = max(-1.0, min(1.0, math.log2(max(ratio, 1e-6))))
    end = (38, 110, 178) if strength > 0 else (196, 50, 48)
    parts = [round(255 + (value - 255) * abs(strength) * 0.75) for value in end]
    return "#{:02x}{:02x}{:02x}".format(*parts)


def heat_map(path, title, note, rows, columns, value, row_title="", column_title=""):
    """A table of ratios, each in its colour. `value(row, column)` gives (ratio, small text) or None."""
    left, top, wide, high = 150, 92, 74, 36
    page = Canvas(left + wide * len(columns) + 20, top + high * len(rows) + 46)
    page.text(16, 26, title, 16, weight="bold")
    page.text(16, 45, note, 11, colour="#5c6670")
    page.text(left + wide * len(columns) / 2, 64, column_title, 11, "middle", "#5c6670")
    page.text(16, top - 8, row_title, 11, colour="#5c6670")
    for index, column in enumerate(columns):
        page.text(left + wide * (index + 0.5), top - 8, column, 11, "middle")
    for number, row in enumerate(rows):
        y = top + high * number
        page.text(left - 8, y + high / 2 + 4, row, 11, "end")
        for index, column in enumerate(columns):
            x, found = left + wide * index, value(row, column)
            if found is None:
                page.box(x, y, wide, high, "#f4f5f6", "#ffffff")
                continue
            ratio, small = found
            page.box(x, y, wide, high, ratio_colour(ratio), "#ffffff")
            page.text(x + wide / 2, y + 16, f"{ratio:.2f}", 13, "middle", weight="bold")
            page.text(x + wide / 2, y + 29, small, 8.5, "middle", "#3c434b")
    page.save(path)


def dot_plot(path, title, note, rows, floor=None):
    """One line for each (label, low, middle, high) on a logarithmic axis, with a line at 1."""
    left, top, wide, step = 230, 74, 520, 15
    edges = [value for row in rows for value in row[1:] if value > 0] + [0.9, 1.1]
    low, high = min(max(min(edges), 0.05), 0.5), max(min(max(edges), 20), 2)

    def place(value):
        value = min(max(value, low), high)
        return left + wide * (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))

    page = Canvas(left + wide + 90, top + step * len(rows) + 40)
    page.text(16, 26, title, 16, weight="bold")
    page.text(16, 45, note, 11, colour="#5c6670")
    bottom = top + step * len(rows)
    for mark in (0.05, 0.1, 0.2, 0.5, 0.9, 1, 1.1, 2, 5, 10, 20):
        if low <= mark <= high:
            page.line(place(mark), top - 6, place(mark), bottom, INK if mark == 1 else FAINT)
            if mark not in (0.9, 1.1):
                page.text(place(mark), bottom + 16, f"{mark:g}", 10, "middle")
    if floor:
        page.line(place(floor), top - 6, place(floor), bottom, COLOURS[4], 1, "4 3")
    for number, (label, least, middle, most) in enumerate(rows):
        y = top + step * (number + 0.5)
        colour = COLOURS[4] if floor and most < floor else COLOURS[0]
        page.text(left - 10, y + 4, label, 10, "end")
        page.line(place(least), y, place(most), y, colour, 1.6)
        page.dot(place(middle), y, colour, 3)
        page.text(left + wide + 8, y + 4, f"{middle:.2f}", 10)
    page.save(path)


def nice(most, count=5):
    """Round numbers from 0 to about `most`."""
    if most <= 0:
        return [0, 1]
    rough = most / count
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [step * index for index in range(int(math.floor(most / step * 1.0001)) + 1)]


def bars(path, title, note, groups, names, unit, limit=None):
    """Groups of bars: [(label, [value or None, …])], a colour for each of `names`."""
    left, top, step, thick = 220, 84, 0, 14
    step = thick * len(names) + 14
    values = [value for _, row in groups for value in row if value is not None]
    most = max(values + [1e-9] + ([limit] if limit else [])) * 1.08
    wide = 470
    page = Canvas(left + wide + 90, top + step * len(groups) + 44)
    page.text(16, 26, title, 16, weight="bold")
    page.text(16, 45, note, 11, colour="#5c6670")
    for index, name in enumerate(names):
        page.box(left + 130 * index, 58, 11, 11, COLOURS[index])
        page.text(left + 130 * index + 16, 68, name, 11)
    bottom = top + step * len(groups)
    for mark in nice(most):
        x = left + wide * mark / most
        page.line(x, top - 4, x, bottom, FAINT)
        page.text(x, bottom + 16, f"{mark:g}", 10, "middle")
    page.text(left + wide / 2, bottom + 34, unit, 11, "middle", "#5c6670")
    if limit:
        x = left + wide * limit / most
        page.line(x, top - 4, x, bottom, COLOURS[4], 1, "4 3")
    for number, (label, row) in enumerate(groups):
        y = top + step * number
        page.text(left - 10, y + step / 2, label, 11, "end")
        for index, value in enumerate(row):
            if value is None:
                continue
            page.box(left, y + thick * index, max(wide * value / most, 0.5), thick - 2, COLOURS[index])
            page.text(left + wide * value / most + 5, y + thick * index + 10, f"{value:.0f}" if value >= 1000 else f"{value:.3g}", 10)
    page.save(path)


def lines(path, title, note, series, across, up):
    """Curves: [(name, [(x, y), …], dashed)]."""
    left, top, wide, high = 70, 92, 640, 320
    points = [point for _, curve, _ in series for point in curve]
    far, most = max(x for x, _ in points) or 1, max(y for _, y in points) * 1.05 or 1
    page = Canvas(left + wide + 30, top + high + 56)
    page.text(16, 26, title, 16, weight="bold")
    page.text(16, 45, note, 11, colour="#5c6670")

    def place(x, y):
        return left + wide * x / far, top + high - high * y / most

    for mark in nice(most):
        x, y = place(0, mark)
        page.line(left, y, left + wide, y, FAINT)
        page.text(left - 8, y + 4, f"{mark:g}", 10, "end")
    for mark in nice(far, 8):
        x, _ = place(mark, 0)
        page.line(x, top, x, top + high, FAINT)
        page.text(x, top + high + 16, f"{mark:g}", 10, "middle")
    page.text(left + wide / 2, top + high + 38, across, 11, "middle", "#5c6670")
    page.text(20, top + high / 2, up, 11, "middle", "#5c6670", turned=True)
    at = left
    for index, (name, curve, dashed) in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        page.line(at, 68, at + 22, 68, colour, 2, "6 4" if dashed else "")
        page.text(at + 28, 72, name, 11)
        at += 44 + 7 * len(name)
        page.path([place(x, y) for x, y in curve], colour, 1.8, "6 4" if dashed else "")
    page.save(path)
