package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The look of all charts. They stand on white, so that they can be read on a dark page, too.
const (
	chartWidth = 720
	measuredBy = "#1f6feb" // the bars and lines of what was measured
	besideBy   = "#b7bdc6" // and of what it is compared with
	inkColour  = "#1f2328"
	mutedInk   = "#656d76"
	gridColour = "#d8dee4"
)

// bars compares pairs of values.
type bars struct {
	title            string
	measured, beside string // what the two of each pair are
	pairs            []pair
}

type pair struct {
	name             string
	measured, beside float64
}

// svg draws the longest bar as wide as there is room for.
func (b bars) svg() string {
	const left, right, top, bar, group = 250, 90, 74, 18, 56
	most := 0.0
	for _, p := range b.pairs {
		most = max(most, p.measured, p.beside)
	}
	var s strings.Builder
	text(&s, 20, 30, "start", inkColour, 16, b.title)
	for i, name := range []string{b.measured, b.beside} {
		x := 20 + 190*i
		rect(&s, x, 44, 12, 12, []string{measuredBy, besideBy}[i])
		text(&s, x+18, 55, "start", mutedInk, 13, name)
	}
	for i, p := range b.pairs {
		y := top + i*group
		text(&s, left-12, y+bar+5, "end", inkColour, 13, p.name)
		for j, value := range []float64{p.measured, p.beside} {
			width := int(math.Round(value / most * (chartWidth - left - right)))
			rect(&s, left, y+j*(bar+2), width, bar, []string{measuredBy, besideBy}[j])
			text(&s, left+width+8, y+j*(bar+2)+14, "start", inkColour, 13, thousands(value))
		}
	}
	return document(top+len(b.pairs)*group, s.String())
}

// curve is a value that depends on another, whose steps are drawn at equal distances.
type curve struct {
	title  string
	x      string // what it depends on
	points []point
	show   func(float64) string
}

type point struct {
	x     int
	value float64
}

func (c curve) svg() string {
	const left, right, top, height, lines = 90, 40, 60, 190, 4
	step := niceStep(slices.MaxFunc(c.points, func(a, b point) int { return int(math.Copysign(1, a.value-b.value)) }).value / lines)
	most := step * lines
	y := func(value float64) int { return top + height - int(math.Round(value/most*height)) }
	var s strings.Builder
	text(&s, 20, 30, "start", inkColour, 16, c.title)
	for i := range lines + 1 {
		value := step * float64(i)
		fmt.Fprintf(&s, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="%s"/>`+"\n", left, chartWidth-right, y(value), y(value), gridColour)
		text(&s, left-10, y(value)+4, "end", mutedInk, 12, c.show(value))
	}
	var path strings.Builder
	for i, p := range c.points {
		x := left + 20 + i*(chartWidth-left-right-40)/max(1, len(c.points)-1)
		fmt.Fprintf(&path, "%d,%d ", x, y(p.value))
		fmt.Fprintf(&s, `<circle cx="%d" cy="%d" r="4" fill="%s"/>`+"\n", x, y(p.value), measuredBy)
		anchor := "end" // to the left of a line that rises
		if i == 0 {
			anchor = "middle"
		}
		text(&s, x, y(p.value)-10, anchor, inkColour, 12, c.show(p.value))
		text(&s, x, top+height+20, "middle", mutedInk, 12, thousands(float64(p.x)))
	}
	fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.TrimSpace(path.String()), measuredBy)
	text(&s, (left+chartWidth-right)/2, top+height+44, "middle", mutedInk, 13, c.x)
	return document(top+height+60, s.String())
}

// niceStep is the next of 1, 2 and 5 times a power of ten.
func niceStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= least {
			return factor * power
		}
	}
	return 10 * power
}

func document(height int, content string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" `+
		`font-family="system-ui, sans-serif">`+"\n"+`<rect width="%[1]d" height="%[2]d" rx="8" fill="#ffffff"/>`+"\n%[3]s</svg>\n",
		chartWidth, height, content)
}

func rect(s *strings.Builder, x, y, width, height int, colour string) {
	fmt.Fprintf(s, `<rect x="%d" y="%d" width="%d" height="%d" rx="2" fill="%s"/>`+"\n", x, y, width, height, colour)
}

func text(s *strings.Builder, x, y int, anchor, colour string, size int, content string) {
	fmt.Fprintf(s, `<text x="%d" y="%d" text-anchor="%s" fill="%s" font-size="%d">%s</text>`+"\n",
		x, y, anchor, colour, size, html.EscapeString(content))
}
