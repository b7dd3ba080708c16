package chart_test

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"doorcode/services/console/internal/chart"
)

// drawing is what a picture shows, in the words of SVG.
type drawing struct {
	texts []string
	tall  map[string]float64 // heights at which texts stand
	paths []string
}

// read parses a picture and takes it apart.
func read(t *testing.T, picture []byte) drawing {
	t.Helper()
	d := drawing{tall: map[string]float64{}}
	decoder := xml.NewDecoder(strings.NewReader(string(picture)))
	var y float64
	var inText bool
	for {
		next, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return d
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := next.(type) {
		case xml.StartElement:
			inText = e.Name.Local == "text"
			for _, a := range e.Attr {
				switch {
				case inText && a.Name.Local == "y":
					y, _ = strconv.ParseFloat(a.Value, 64)
				case e.Name.Local == "path" && a.Name.Local == "d":
					d.paths = append(d.paths, a.Value)
				}
			}
		case xml.CharData:
			if inText {
				d.texts = append(d.texts, string(e))
				d.tall[string(e)] = y
			}
		case xml.EndElement:
			inText = false
		}
	}
}

// shares are points of 90 percent every ten minutes, but between two of them.
func shares(from time.Time, n, gapAt, gap int) []chart.Point {
	var all []chart.Point
	for i := range n {
		if i < gapAt || i >= gapAt+gap {
			all = append(all, chart.Point{At: from.Add(time.Duration(i) * 10 * time.Minute), Percent: 90})
		}
	}
	return all
}

func TestShares_NamesEachLineAtItsEndAndTheTimeInUTC(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 3, 4, 0, 0, 0, 0, time.FixedZone("somewhere", 2*3600))
	for _, theme := range []chart.Theme{chart.Light, chart.Dark} {
		picture, err := chart.Shares(theme, from, from.Add(24*time.Hour), 10*time.Minute, []chart.Line{
			{Name: "all", Points: shares(from, 144, 200, 0)},
			{Name: "+34 (ES)", Points: shares(from, 144, 60, 10)},
			{Name: "+33 (FR)", Points: []chart.Point{{At: from.Add(time.Hour), Percent: 41}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		d := read(t, picture)
		for _, want := range []string{"all 90 %", "+34 (ES) 90 %", "+33 (FR) 41 %", "0 %", "100 %", "00:00", "04:00", "20:00"} {
			if !slices.Contains(d.texts, want) {
				t.Errorf("%s: %q is not there: %q", theme, want, d.texts)
			}
		}
		if a, b := d.tall["all 90 %"], d.tall["+34 (ES) 90 %"]; a-b < 15 && b-a < 15 {
			t.Errorf("two names cover each other at %v and %v", a, b)
		}
		long := 0
		for _, p := range d.paths {
			if strings.Count(p, "L") > 40 {
				long++
			}
		}
		if long != 3 { // all, and both sides of the gap
			t.Errorf("%d lines are drawn", long)
		}
		if strings.Contains(string(picture), "-8000000000000000") || !regexp.MustCompile(`font-size:1[5-9]px`).Match(picture) {
			t.Error("a colour is none, or letters are small")
		}
	}
}

func TestShares_SaysThatThereIsNothingToDraw(t *testing.T) {
	t.Parallel()
	picture, err := chart.Shares(chart.Light, time.Unix(0, 0), time.Unix(86400, 0), time.Hour, []chart.Line{{Name: "all"}})
	if err != nil || !slices.Contains(read(t, picture).texts, "too few messages to draw") {
		t.Errorf("%s, %v", picture, err)
	}
	_, err = chart.Shares(chart.Light, time.Unix(0, 0), time.Unix(86400, 0), time.Hour, make([]chart.Line, chart.MaxLines+1))
	if err == nil {
		t.Error("five lines are drawn")
	}
}

func TestStack_NamesThePartsThatAreWideEnough(t *testing.T) {
	t.Parallel()
	picture, err := chart.Stack(chart.Dark, []chart.Part{{"scheduled", 2}, {"grace", 400}, {"enforced", 598}, {"exempt", 0}})
	if err != nil {
		t.Fatal(err)
	}
	if d := read(t, picture); !slices.Equal(d.texts, []string{"grace 400", "enforced 598"}) {
		t.Errorf("%q", d.texts)
	}
	_, err = chart.Stack(chart.Light, nil)
	if err != nil {
		t.Errorf("nothing to draw: %v", err)
	}
	_, err = chart.Stack(chart.Light, []chart.Part{{"none", 0}})
	if err != nil {
		t.Errorf("nothing in it: %v", err)
	}
	_, err = chart.Stack(chart.Light, make([]chart.Part, 6))
	if err == nil {
		t.Error("six parts are drawn")
	}
}
