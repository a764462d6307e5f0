package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPicture_Folds(t *testing.T) {
	long := strings.Repeat("word ", 30)
	for _, test := range []struct {
		name  string
		spans []span
		want  []string
	}{
		{name: "a short line stays", spans: []span{{dim, "job $ "}, {bold, "kubectl"}}, want: []string{"job $ kubectl"}},
		{name: "a long line is folded at a blank", spans: []span{{text: long}}, want: []string{
			strings.TrimSpace(strings.Repeat("word ", 22)), pictureIndent + strings.Repeat("word ", 8),
		}},
		{name: "a long word is cut", spans: []span{{text: strings.Repeat("x", pictureColumns+3)}}, want: []string{
			strings.Repeat("x", pictureColumns), pictureIndent + "xxx",
		}},
		{name: "what comes before a long command counts", spans: []span{{dim, strings.Repeat("y", 100) + " "}, {bold, "one two three"}}, want: []string{
			strings.Repeat("y", 100) + " one two", pictureIndent + "three",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &picture{on: true}
			p.add(test.spans...)
			var got []string
			for _, line := range p.lines {
				var text string
				for _, s := range line {
					text += s.text
				}
				got = append(got, text)
			}
			if strings.Join(got, "\n") != strings.Join(test.want, "\n") {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPicture_DrawsOnlyWhileItIsOn(t *testing.T) {
	p := new(picture)
	p.add(span{text: "before"})
	p.on = true
	p.add(span{bold, `<b> & "quotes"`})
	p.on = false
	p.add(span{text: "after"})
	var texts []string
	decoder := xml.NewDecoder(strings.NewReader(string(p.svg("a <title>"))))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok {
			texts = append(texts, strings.TrimSpace(string(data)))
		}
	}
	all := strings.Join(texts, "\n")
	if strings.Contains(all, "before") || strings.Contains(all, "after") {
		t.Errorf("the picture shows what came before or after: %q", all)
	}
	if !strings.Contains(all, `<b> & "quotes"`) || !strings.Contains(all, "a <title>") {
		t.Errorf("the picture lacks its text: %q", all)
	}
}
