// Package docs reads the repository's pages as a test wants them: blocks of code with the words that say how they are shown,
// and the commands in the running text. It knows nothing of what any command does.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Block is a fenced block of code.
type Block struct {
	Page     string   // its file, below the repository's folder
	Line     int      // of its first line of code, from 1
	Language string   // the first word behind the fence; may be empty
	Words    []string // the others, which no reader sees
	Text     string   // without the indentation that it has in a list; every line ends with a newline

	indent string
	end    int // the line of the closing fence
}

// Kind is the language and the words.
func (b Block) Kind() string { return strings.Join(append([]string{b.Language}, b.Words...), " ") }

// Is says whether the words begin with those given.
func (b Block) Is(language string, words ...string) bool {
	return b.Language == language && len(b.Words) >= len(words) && slices.Equal(b.Words[:len(words)], words)
}

// String is where the block is, for messages.
func (b Block) String() string { return fmt.Sprintf("%s:%d (```%s)", b.Page, b.Line, b.Kind()) }

// Line is a line of a page.
type Line struct {
	Number int // from 1
	Text   string
}

// Page is one page.
type Page struct {
	Path   string // below the repository's folder
	Blocks []Block
	Prose  []Line // everything outside of blocks

	lines []string
	file  string
}

// Pages are all pages that tell readers what to type.
func Pages(repository string) ([]*Page, error) {
	files, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil {
		return nil, fmt.Errorf("look for pages: %w", err)
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", filepath.Join("e2e", "README.md")} {
		files = append(files, filepath.Join(repository, name))
	}
	pages := make([]*Page, 0, len(files))
	for _, file := range files {
		page, err := read(repository, file)
		if err != nil {
			return nil, err
		}
		pages = append(pages, page)
	}
	return pages, nil
}

var fence = regexp.MustCompile("^( *)```([^`]*)$")

func read(repository, file string) (*Page, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read a page: %w", err)
	}
	name, err := filepath.Rel(repository, file)
	if err != nil {
		return nil, fmt.Errorf("name a page: %w", err)
	}
	p := &Page{Path: name, file: file, lines: strings.SplitAfter(string(text), "\n")}
	var open *Block
	for i, line := range p.lines {
		mark := fence.FindStringSubmatch(strings.TrimRight(line, "\n"))
		switch {
		case open == nil && mark == nil:
			p.Prose = append(p.Prose, Line{Number: i + 1, Text: strings.TrimRight(line, "\n")})
		case open == nil:
			words := strings.Fields(mark[2])
			open = &Block{Page: name, Line: i + 2, indent: mark[1]}
			if len(words) > 0 {
				open.Language, open.Words = words[0], words[1:]
			}
		case mark != nil && strings.TrimSpace(mark[2]) == "":
			open.end = i + 1
			p.Blocks = append(p.Blocks, *open)
			open = nil
		default:
			open.Text += strings.TrimPrefix(line, open.indent)
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s: the block at line %d has no end", name, open.Line)
	}
	return p, nil
}

// Rewrite puts another text into blocks of the page, in its file. The texts are by the index of the block.
func (p *Page) Rewrite(texts map[int]string) error {
	var b strings.Builder
	next := 1
	for i, block := range p.Blocks {
		text, ok := texts[i]
		if !ok {
			continue
		}
		b.WriteString(strings.Join(p.lines[next-1:block.Line-1], ""))
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) != "" {
				line = block.indent + line
			}
			b.WriteString(line)
		}
		next = block.end
	}
	b.WriteString(strings.Join(p.lines[next-1:], ""))
	if err := os.WriteFile(p.file, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("rewrite a page: %w", err)
	}
	return nil
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// Spans are the pieces of code in the running text, each with its line. One may go on in the next line.
func (p *Page) Spans() []Line {
	var spans []Line
	for start := 0; start < len(p.Prose); {
		paragraph, end := p.Prose[start].Text, start+1
		for ; end < len(p.Prose) && paragraph != "" && p.Prose[end].Text != "" && p.Prose[end].Number == p.Prose[end-1].Number+1; end++ {
			paragraph += "\n" + p.Prose[end].Text
		}
		for _, m := range codeSpan.FindAllStringSubmatchIndex(paragraph, -1) {
			spans = append(spans, Line{
				Number: p.Prose[start].Number + strings.Count(paragraph[:m[2]], "\n"),
				Text:   strings.Join(strings.Fields(paragraph[m[2]:m[3]]), " "),
			})
		}
		start = end
	}
	return spans
}

// command is a line that a reader would take for something to type.
var command = regexp.MustCompile(`^(?:\$ )?(?:[A-Z_]+=\S* )*(?:sudo )?(?:jobgate|kubectl|make|git|go|curl|openssl|helm|docker|ctr|` +
	`cosign|crane|kubeadm|k3s|talosctl|systemctl|ssh|scp|cp|rm|cd|export|install|sha256sum)(?: |$)`)

// Commands are the lines that look like commands to type.
func Commands(lines []Line) []Line {
	return slices.DeleteFunc(slices.Clone(lines), func(l Line) bool { return !command.MatchString(strings.TrimSpace(l.Text)) })
}

// Indented are the lines of code that are shown without a fence, by their indentation alone.
func (p *Page) Indented() []Line {
	return slices.DeleteFunc(slices.Clone(p.Prose), func(l Line) bool { return !strings.HasPrefix(l.Text, "    ") })
}

// Lines are the block's own.
func (b Block) Lines() []Line {
	var lines []Line
	for i, text := range strings.Split(strings.TrimSuffix(b.Text, "\n"), "\n") {
		lines = append(lines, Line{Number: b.Line + i, Text: text})
	}
	return lines
}
