package main

import (
	"fmt"
	"io"
	"strings"
)

// terminal prints the demo in plain ASCII, with colour only where the reader has one.
type terminal struct {
	out     io.Writer
	colour  bool
	picture *picture // may be nil
}

const (
	bold  = "1"
	green = "32"
	dim   = "2"
)

func (t *terminal) say(format string, args ...any) {
	t.line(span{text: fmt.Sprintf(format, args...)})
}

func (t *terminal) title(number int, title string) {
	t.line()
	t.line(span{bold, fmt.Sprintf("%d. %s", number, title)})
}

func (t *terminal) commandLine(who, line string) {
	t.line(span{dim, who + " $ "}, span{bold, line})
}

func (t *terminal) output(text string) {
	for line := range strings.Lines(text) {
		t.line(span{text: "    " + strings.TrimRight(line, " \n")})
	}
}

func (t *terminal) outcome(text string) {
	t.line(span{text: "    "}, span{green, "-> " + text + ", as expected"})
}

func (t *terminal) summary(scenes, commands int) {
	t.line()
	t.line(span{green, fmt.Sprintf("All %d scenes went as they should: %d commands, each with the expected outcome.", scenes, commands)})
}

func (t *terminal) line(spans ...span) {
	for _, s := range spans {
		fmt.Fprint(t.out, t.paint(s.style, s.text))
	}
	fmt.Fprintln(t.out)
	t.picture.add(spans...)
}

func (t *terminal) paint(code, text string) string {
	if !t.colour || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
