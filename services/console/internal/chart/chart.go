// Package chart draws the console's pictures as SVG with a charting library. Each is meant to be read at three in the
// morning: few lines, large type, names beside the lines instead of a legend, colours that people tell apart who see no red
// or green, time in UTC. It draws what it is given and judges nothing; whoever shows a picture shows its figures as a table
// too.
package chart

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"math"
	"regexp"
	"slices"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Theme is the light in which a picture is looked at.
type Theme string

// The two of them.
const (
	Light Theme = "light"
	Dark  Theme = "dark"
)

// Sizes, in points of the picture, which scales with the page.
const (
	width, height = 680, 320
	stackHeight   = 96
	letters       = 15
	bold          = 3   // of golang.org/x/image/font
	spread        = 7.5 // percentage points between two names
)

// MaxLines is how many lines a picture may have: more are not told apart at a glance.
const MaxLines = 4

// paint is what a theme looks like.
type paint struct {
	ink, grid color.Color
	card      color.Color   // beneath everything, as the pages have it
	lines     []color.Color // Okabe and Ito, the dark ones lightened
	on        []color.Color // of letters on them
}

func (t Theme) paint() paint {
	white, black := gray(0xff), gray(0x11)
	if t == Dark {
		return paint{
			ink: gray(0xe8), grid: gray(0x4a), card: rgb(0x1a2230),
			lines: []color.Color{rgb(0x7fc4f5), rgb(0xf0b23c), rgb(0x4fd0a5), rgb(0xe79bc4), rgb(0xc9ced8)},
			on:    []color.Color{black, black, black, black, black},
		}
	}
	return paint{
		ink: gray(0x1b), grid: gray(0xcc), card: gray(0xff),
		lines: []color.Color{rgb(0x0061a0), rgb(0xa34a00), rgb(0x006b4f), rgb(0x96457a), rgb(0x4a5261)},
		on:    []color.Color{white, white, white, white, white},
	}
}

func gray(v uint8) color.Color { return color.RGBA{R: v, G: v, B: v, A: 0xff} }

func rgb(hex uint32) color.Color {
	return color.RGBA{R: uint8(hex >> 16 & 0xff), G: uint8(hex >> 8 & 0xff), B: uint8(hex & 0xff), A: 0xff}
}

// Point is a share at a time, in percent.
type Point struct {
	At      time.Time
	Percent float64
}

// Line is shares over time. A time without a point, more than the step after the one before, is a gap in it.
type Line struct {
	Name   string
	Points []Point
}

// Shares draws lines from 0 to 100 percent over a time, each named at its end. step is the time between two points. It
// fails when there are more than MaxLines, and an empty picture says that there is nothing to draw.
func Shares(t Theme, from, to time.Time, step time.Duration, lines []Line) ([]byte, error) {
	if len(lines) > MaxLines {
		return nil, fmt.Errorf("draw a picture: %d lines are too many", len(lines))
	}
	c := t.paint()
	p := blank(c)
	span := to.Sub(from).Seconds()
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, span*1.32, 0, 104 // The names stand on the right.
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(hours(from, to)), plot.ConstantTicks(percents())
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Width = c.grid, 0
	p.Add(grid)
	var names []name
	for i, l := range lines {
		for _, run := range runs(l.Points, from, step) {
			err := addRun(p, run, c.lines[i])
			if err != nil {
				return nil, fmt.Errorf("draw a picture: %w", err)
			}
		}
		if n := len(l.Points); n > 0 {
			last := l.Points[n-1]
			names = append(names, name{
				text: fmt.Sprintf("%s %.0f %%", l.Name, last.Percent), x: last.At.Sub(from).Seconds(), y: last.Percent, color: c.lines[i],
			})
		}
	}
	if len(names) == 0 {
		names = []name{{text: "too few messages to draw", x: span / 3, y: 50, color: c.ink}}
	}
	err := addNames(p, apart(names), span*0.015)
	if err != nil {
		return nil, fmt.Errorf("draw a picture: %w", err)
	}
	return render(p, height)
}

// addRun draws a part of a line that has no gap; of a single point, the point.
func addRun(p *plot.Plot, run plotter.XYs, c color.Color) error {
	if len(run) == 1 {
		dot, err := plotter.NewScatter(run)
		if err != nil {
			return err
		}
		dot.GlyphStyle = draw.GlyphStyle{Color: c, Radius: 3, Shape: draw.CircleGlyph{}}
		p.Add(dot)
		return nil
	}
	line, err := plotter.NewLine(run)
	if err != nil {
		return err
	}
	line.Color, line.Width = c, 3
	p.Add(line)
	return nil
}

// runs divides points at their gaps.
func runs(points []Point, from time.Time, step time.Duration) []plotter.XYs {
	var all []plotter.XYs
	for i, at := range points {
		if i == 0 || at.At.Sub(points[i-1].At) > step {
			all = append(all, nil)
		}
		last := &all[len(all)-1]
		*last = append(*last, plotter.XY{X: at.At.Sub(from).Seconds(), Y: at.Percent})
	}
	return all
}

// name is a text in a picture.
type name struct {
	text  string
	x, y  float64
	color color.Color
}

// apart moves names up and down until none covers another, in the order of their heights.
func apart(names []name) []name {
	slices.SortStableFunc(names, func(a, b name) int { return cmp.Compare(a.y, b.y) })
	floor := math.Inf(-1)
	for i := range names {
		names[i].y = max(names[i].y, floor)
		floor = names[i].y + spread
	}
	ceiling := 100.0
	for i := len(names) - 1; i >= 0; i-- {
		names[i].y = min(names[i].y, ceiling)
		ceiling = names[i].y - spread
	}
	return names
}

// addNames writes names to the right of their places.
func addNames(p *plot.Plot, names []name, gap float64) error {
	var l plotter.XYLabels
	for _, n := range names {
		l.XYs = append(l.XYs, plotter.XY{X: n.x + gap, Y: n.y})
		l.Labels = append(l.Labels, n.text)
	}
	labels, err := plotter.NewLabels(l)
	if err != nil {
		return err
	}
	for i, n := range names {
		labels.TextStyle[i] = style(n.color)
		labels.TextStyle[i].YAlign = text.YCenter
		labels.TextStyle[i].Font.Weight = bold
	}
	p.Add(labels)
	return nil
}

// hours marks every fourth hour of UTC, or less of a short time.
func hours(from, to time.Time) []plot.Tick {
	every := 4 * time.Hour
	if to.Sub(from) < 12*time.Hour {
		every = time.Hour
	}
	var ticks []plot.Tick
	for at := from.UTC().Truncate(every); !at.After(to); at = at.Add(every) {
		if !at.Before(from) {
			ticks = append(ticks, plot.Tick{Value: at.Sub(from).Seconds(), Label: at.Format("15:04")})
		}
	}
	return ticks
}

// percents marks the quarters.
func percents() []plot.Tick {
	var ticks []plot.Tick
	for v := 0; v <= 100; v += 25 {
		ticks = append(ticks, plot.Tick{Value: float64(v), Label: fmt.Sprintf("%d %%", v)})
	}
	return ticks
}

// Part is a part of a whole.
type Part struct {
	Name  string
	Count int
}

// Stack draws one bar of parts that add up, from left to right, at most five of them. A part that is wide enough has its
// name and count in it.
func Stack(t Theme, parts []Part) ([]byte, error) {
	c := t.paint()
	if len(parts) > len(c.lines) {
		return nil, fmt.Errorf("draw a picture: %d parts are too many", len(parts))
	}
	p := blank(c)
	p.HideAxes()
	total := 0
	for _, one := range parts {
		total += one.Count
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, float64(max(total, 1)), -0.5, 0.5
	begin := 0
	var names []name
	var before *plotter.BarChart
	for i, one := range parts {
		bar, err := plotter.NewBarChart(plotter.Values{float64(one.Count)}, stackHeight*0.8)
		if err != nil {
			return nil, fmt.Errorf("draw a picture: %w", err)
		}
		bar.Color, bar.LineStyle.Width, bar.Horizontal = c.lines[i], 0, true
		if before != nil {
			bar.StackOn(before)
		}
		before = bar
		p.Add(bar)
		if label := fmt.Sprintf("%s %d", one.Name, one.Count); one.Count*width > total*len(label)*letters*2/3 {
			names = append(names, name{text: label, x: float64(begin), color: c.on[i]})
		}
		begin += one.Count
	}
	if len(names) > 0 {
		err := addNames(p, names, float64(total)*0.01)
		if err != nil {
			return nil, fmt.Errorf("draw a picture: %w", err)
		}
	}
	return render(p, stackHeight)
}

// blank is a plot without anything in it.
func blank(c paint) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = c.card
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Tick.Color = c.grid, c.grid
		a.Tick.Label = style(c.ink)
		a.Padding = 4
	}
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = text.XCenter, text.YTop
	p.Y.Tick.Label.XAlign, p.Y.Tick.Label.YAlign = text.XRight, text.YCenter
	return p
}

// style is that of all letters.
func style(c color.Color) text.Style {
	return text.Style{Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: letters}, Handler: plot.DefaultTextHandler}
}

// render writes a plot as SVG that scales with the page and takes whatever sans-serif letters there are.
func render(p *plot.Plot, high vg.Length) ([]byte, error) {
	canvas := vgsvg.New(width, high)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	_, err := canvas.WriteTo(&b)
	if err != nil {
		return nil, fmt.Errorf("write a picture: %w", err)
	}
	families := regexp.MustCompile(`font-family:[^;"]*`)
	return families.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif")), nil
}
