package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// list is a block sequence of a YAML file, by its lines: what is put into it changes no other line, as encoding the file
// again would (comments move, blank lines go). Several changes are made from the last item to the first, since items keep
// their numbers and those above a change their lines.
type list struct {
	lines  []string // with their ends; the last one has one, too
	indent int      // of the dashes
	starts []int    // of the items, their comments included; the last one is where the list ends
}

// errNotBlock follows the name of a list.
var errNotBlock = errors.New("must be a list of lines that begin with \"- \", for jobgate to be put into it")

// oneDocument refuses a file of which kube-apiserver would read the first part and leave the rest.
func oneDocument(text []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for count := 0; ; count++ {
		var document yaml.Node
		err := decoder.Decode(&document)
		switch {
		case errors.Is(err, io.EOF) && count == 0:
			return errors.New("the file is empty")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("not YAML: %w", err)
		case count > 0:
			return fmt.Errorf("line %d: a second YAML document, of which kube-apiserver takes no notice", document.Line)
		}
	}
}

// parseList finds the list that the keys lead to.
func parseList(text []byte, keys ...string) (*list, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	items := document.Content[0]
	for _, key := range keys {
		_, items = member(items, key)
	}
	if items == nil || items.Kind != yaml.SequenceNode || items.Style&yaml.FlowStyle != 0 || len(items.Content) == 0 {
		return nil, fmt.Errorf("%s %w", strings.Join(keys, "."), errNotBlock)
	}
	l := &list{indent: items.Column - 1, lines: splitLines(text)}
	for _, item := range items.Content {
		start, err := l.dash(item.Line - 1)
		if err != nil {
			return nil, fmt.Errorf("%s %w", strings.Join(keys, "."), err)
		}
		l.starts = append(l.starts, start)
	}
	end := l.end(l.starts[len(l.starts)-1])
	for i := range l.starts {
		l.starts[i] = l.commentsAbove(l.starts[i])
	}
	l.starts = append(l.starts, end)
	return l, nil
}

// member is a key of a mapping, and its value; nil where there is none.
func member(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			key, value = mapping.Content[i], mapping.Content[i+1]
		}
	}
	return key, value
}

// splitLines are the lines with their ends, of which the last one gets one, too.
func splitLines(text []byte) []string {
	lines := strings.SplitAfter(string(text), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		return lines[:last]
	}
	lines[len(lines)-1] += "\n"
	return lines
}

// dash is the line of the dash before an item, which may stand above the item's first key.
func (l *list) dash(line int) (int, error) {
	for ; line >= 0; line-- {
		if text := l.lines[line]; indentOf(text) == l.indent && strings.HasPrefix(text[l.indent:], "-") {
			return line, nil
		}
	}
	return 0, errNotBlock
}

// commentsAbove is the first of the comments right above an item, which belong to it.
func (l *list) commentsAbove(line int) int {
	for line > 0 && l.isComment(line-1) {
		line--
	}
	return line
}

// isComment says that a line is a comment on the list. One that stands deeper is in an item, and may be no comment at all but
// the text of a block scalar.
func (l *list) isComment(line int) bool {
	return strings.HasPrefix(strings.TrimSpace(l.lines[line]), "#") && indentOf(l.lines[line]) <= l.indent
}

// end is the line after the item that begins at a line and is the last: the first that stands no deeper than its dash,
// less the blank lines and comments before that, which belong to what follows.
func (l *list) end(line int) int {
	end := line + 1
	for next := end; next < len(l.lines); next++ {
		if strings.TrimSpace(l.lines[next]) == "" || l.isComment(next) {
			continue
		}
		if indentOf(l.lines[next]) <= l.indent {
			break
		}
		end = next + 1
	}
	return end
}

// body is where an item's own lines are, without the comments above and the blank lines below.
func (l *list) body(i int) (from, to int) {
	from, to = l.starts[i], l.starts[i+1]
	for l.isComment(from) {
		from++
	}
	for strings.TrimSpace(l.lines[to-1]) == "" {
		to--
	}
	return from, to
}

// item are an item's own lines as they would be at the margin.
func (l *list) item(i int) []string {
	from, to := l.body(i)
	var lines []string
	for _, line := range l.lines[from:to] {
		lines = append(lines, line[min(l.indent, indentOf(line)):])
	}
	return lines
}

// insert puts an item before another, or behind the last.
func (l *list) insert(before int, item []string) []byte {
	return l.splice(l.starts[before], l.starts[before], item)
}

func (l *list) replace(i int, item []string) []byte {
	from, to := l.body(i)
	return l.splice(from, to, item)
}

// remove takes an item out, and leaves the comments above it.
func (l *list) remove(i int) []byte {
	from, to := l.body(i)
	return l.splice(from, to, nil)
}

func (l *list) splice(from, to int, item []string) []byte {
	l.lines = slices.Concat(l.lines[:from], indented(l.indent, item...), l.lines[to:])
	return []byte(strings.Join(l.lines, ""))
}

// indented are lines at the margin, moved to the right.
func indented(indent int, lines ...string) []string {
	moved := make([]string, len(lines))
	for i, line := range lines {
		moved[i] = strings.Repeat(" ", indent) + line
	}
	return moved
}

// indentOf is the number of spaces at the beginning of a line; of a blank one, its length.
func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
