package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// picture keeps what the terminal shows while it is on, and draws it as a terminal's window.
type picture struct {
	on    bool
	lines [][]span
}

// span is a part of a line in one style, which is a code of the terminal, or "".
type span struct{ style, text string }

const (
	pictureColumns = 112
	pictureIndent  = "    "
	lineWidth      = 818 // of pictureColumns in 12 pixels
	lineHeight     = 17
	pictureMargin  = 16
)

// add keeps a line, folded at the picture's width.
func (p *picture) add(spans ...span) {
	if p == nil || !p.on {
		return
	}
	var line []span
	room := pictureColumns
	for _, s := range spans {
		for len(s.text) > room {
			at := strings.LastIndexByte(s.text[:room+1], ' ')
			if at <= len(pictureIndent) {
				at = room
			}
			p.lines = append(p.lines, append(line, span{s.style, s.text[:at]}))
			s.text = pictureIndent + strings.TrimPrefix(s.text[at:], " ")
			line, room = nil, pictureColumns
		}
		line, room = append(line, s), room-len(s.text)
	}
	p.lines = append(p.lines, line)
}

// svg draws the lines. It needs neither a font nor a script, so that it shows wherever Markdown does.
func (p *picture) svg(title string) []byte {
	lines := p.lines
	if len(lines) > 0 && len(lines[0]) == 0 {
		lines = lines[1:] // the blank one above a scene
	}
	width := lineWidth + 2*pictureMargin
	height := len(lines)*lineHeight + 2*pictureMargin
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", escape(title))
	b.WriteString(`<style>text{font:12px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#c9d1d9;white-space:pre}` +
		`.s1{fill:#fff;font-weight:600}.s2{fill:#8b949e}.s32{fill:#56d364}.s31{fill:#ff7b72}</style>` + "\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#0d1117"/>`+"\n", width, height)
	for i, line := range lines {
		fmt.Fprintf(&b, `<text x="%d" y="%d" xml:space="preserve">`, pictureMargin, pictureMargin+i*lineHeight+12)
		for _, s := range line {
			fmt.Fprintf(&b, `<tspan class="s%s">%s</tspan>`, s.style, escape(s.text))
		}
		b.WriteString("</text>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}
