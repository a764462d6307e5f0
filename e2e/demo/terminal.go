package main

import (
	"fmt"
	"io"
	"strings"
)

// terminal prints the demo in plain ASCII, with colour only where the reader has one.
type terminal struct {
	out    io.Writer
	colour bool
}

const (
	bold  = "1"
	green = "32"
	dim   = "2"
)

func (t *terminal) say(format string, args ...any) {
	fmt.Fprintf(t.out, format+"\n", args...)
}

func (t *terminal) title(number int, title string) {
	fmt.Fprintf(t.out, "\n%s\n", t.paint(bold, fmt.Sprintf("%d. %s", number, title)))
}

func (t *terminal) commandLine(who, line string) {
	fmt.Fprintf(t.out, "%s %s\n", t.paint(dim, who+" $"), t.paint(bold, line))
}

func (t *terminal) output(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(t.out, "    %s\n", strings.TrimRight(line, " \n"))
	}
}

func (t *terminal) outcome(text string) {
	fmt.Fprintf(t.out, "    %s\n", t.paint(green, "-> "+text+", as expected"))
}

func (t *terminal) summary(scenes, commands int) {
	text := fmt.Sprintf("All %d scenes went as they should: %d commands, each with the expected outcome.", scenes, commands)
	fmt.Fprintf(t.out, "\n%s\n", t.paint(green, text))
}

func (t *terminal) paint(code, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
