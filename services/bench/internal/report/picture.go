package report

import (
	"fmt"
	"image/color"
	"io"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"doorcode/services/bench/internal/load"
)

// tileWidth and tileHeight are the size of one plot.
const (
	tileWidth  = 9 * vg.Centimeter
	tileHeight = 8 * vg.Centimeter
)

// colors are those of the runs, in their order: told apart by people who see no red or green, too (Okabe and Ito).
func colors() []color.Color {
	return []color.Color{
		color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
		color.RGBA{R: 0x56, G: 0xb4, B: 0xe9, A: 0xff},
		color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
		color.RGBA{R: 0xe6, G: 0x9f, B: 0x00, A: 0xff},
		color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
		color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
		color.RGBA{A: 0xff},
	}
}

// Picture writes an SVG: a row of plots per sync_interval, a plot per stage, a line per load. Across, how many of the
// sign-ins were slower (one in 10, one in 100, …); up, the latency. Both axes are logarithmic.
func (r Report) Picture(w io.Writer) error {
	var rows [][]*plot.Plot
	for _, sync := range r.syncs() {
		var row []*plot.Plot
		for _, stage := range load.Stages() {
			p, err := r.plot(sync, stage)
			if err != nil {
				return fmt.Errorf("draw the picture: %w", err)
			}
			row = append(row, p)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	tiles := draw.Tiles{
		Rows: len(rows), Cols: len(load.Stages()), PadX: vg.Centimeter / 2, PadY: vg.Centimeter / 2,
		PadTop: vg.Centimeter / 4, PadBottom: vg.Centimeter / 4, PadLeft: vg.Centimeter / 4, PadRight: vg.Centimeter / 2,
	}
	canvas := vgsvg.New(tileWidth*vg.Length(tiles.Cols), tileHeight*vg.Length(tiles.Rows))
	for i, row := range plot.Align(rows, tiles, draw.New(canvas)) {
		for j, c := range row {
			rows[i][j].Draw(c)
		}
	}
	_, err := canvas.WriteTo(w)
	if err != nil {
		return fmt.Errorf("write the picture: %w", err)
	}
	return nil
}

// syncs lists the settings that were measured, in their order.
func (r Report) syncs() []string {
	var all []string
	for _, run := range r.Runs {
		if !slices.Contains(all, run.Sync) {
			all = append(all, run.Sync)
		}
	}
	return all
}

// plot draws the distributions of one stage.
func (r Report) plot(sync string, stage load.Stage) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s, sync_interval %s", stage, sync)
	p.X.Label.Text, p.Y.Label.Text = "percentile", "ms"
	// Every plot has the same axes, so that they can be compared.
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 1, r.most(), 0.1, 10
	for _, run := range r.Runs {
		for _, s := range load.Stages() {
			for p.Y.Max < float64(run.Stages[s].Max)/1000 {
				p.Y.Max *= 10
			}
		}
	}
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(percentiles), plot.TickerFunc(powers)
	p.Add(plotter.NewGrid())
	n := 0
	for _, run := range r.Runs {
		if run.Sync != sync {
			continue
		}
		err := add(p, run, stage, colors()[n%len(colors())])
		if err != nil {
			return nil, err
		}
		n++
	}
	return p, nil
}

// most is the number of sign-ins of the run with the most.
func (r Report) most() float64 {
	most := 1000.0
	for _, run := range r.Runs {
		most = max(most, float64(run.Cycles))
	}
	return most
}

// add draws the line of one run, dashed when it was an open loop.
func add(p *plot.Plot, run Run, stage load.Stage, c color.Color) error {
	var points plotter.XYs
	for _, point := range run.Stages[stage].Points {
		points = append(points, plotter.XY{X: 100 / (100 - point.Percentile), Y: max(float64(point.Value)/1000, p.Y.Min)})
	}
	if len(points) == 0 {
		return nil
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.Color, line.Width = c, vg.Points(1.5)
	if run.Rate > 0 {
		line.Dashes = []vg.Length{vg.Points(4), vg.Points(2)}
	}
	p.Add(line)
	if stage == load.Create { // once a row is enough
		p.Legend.Add(run.Name(), line)
	}
	return nil
}

// percentiles marks one in one, ten, a hundred and so on by their percentiles.
func percentiles(_, upTo float64) []plot.Tick {
	ticks := []plot.Tick{{Value: 1, Label: "0"}, {Value: 2, Label: "50"}, {Value: 10, Label: "90"}}
	label := "99"
	for value := 100.0; value <= upTo; value *= 10 {
		ticks = append(ticks, plot.Tick{Value: value, Label: label})
		if label == "99" {
			label += "."
		}
		label += "9"
	}
	return ticks
}

// powers marks the powers of ten.
func powers(from, upTo float64) []plot.Tick {
	var ticks []plot.Tick
	for value := from; value <= upTo*1.01; value *= 10 {
		ticks = append(ticks, plot.Tick{Value: value, Label: strconv.FormatFloat(value, 'f', -1, 64)})
	}
	return ticks
}
