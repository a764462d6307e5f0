package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseDocument reads the one YAML document of a file into nodes, which know their lines. The nodes of an alias are not
// repeated, so the result is in proportion to the text.
func parseDocument(data []byte) (*yaml.Node, *Problem) {
	if len(data) > maxFileBytes {
		return nil, &Problem{Line: 1, Message: fmt.Sprintf("must not be larger than %d bytes", maxFileBytes)}
	}
	documents, err := readDocuments(data)
	switch {
	case err != nil:
		return nil, syntaxProblem(data, err)
	case len(documents) == 0 || documents[0].Content[0].ShortTag() == "!!null":
		return nil, &Problem{Line: 1, Message: "the file is empty"}
	case len(documents) > 1:
		line := documents[1].Line
		return nil, &Problem{Line: line, Message: "the file must have only one YAML document"}
	}
	return documents[0].Content[0], nil
}

// readDocuments stops after two, as that is one too many already.
func readDocuments(data []byte) ([]yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var documents []yaml.Node
	for len(documents) < 2 {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("invalid YAML: %w", err)
		}
		documents = append(documents, document)
	}
	return documents, nil
}

// yamlErrorLine finds the line in an error of the YAML parser, which has it only as text, and not always.
var yamlErrorLine = regexp.MustCompile(`yaml: (?:line (\d+): )?`)

// aliasHint is for the author of an unquoted pattern: YAML takes *-prod for an alias.
const aliasHint = ": put what begins with * in quotes"

// syntaxProblem says on which line a file stops being YAML.
//
// The parser names no line for some mistakes, and for others one that is off by one or two: it counts from 0 or from 1, and
// means the mistake or what surrounds it. The right line is the first one with which the text fails in the same way.
func syntaxProblem(data []byte, err error) *Problem {
	lines := bytes.SplitAfter(data, []byte("\n"))
	message := yamlErrorLine.ReplaceAllString(err.Error(), "")
	failsWith := func(count int) bool {
		_, err := readDocuments(bytes.Join(lines[:count], nil))
		return err != nil && yamlErrorLine.ReplaceAllString(err.Error(), "") == message
	}
	var line int
	if match := yamlErrorLine.FindStringSubmatch(err.Error()); len(match) == 2 && match[1] != "" {
		told, _ := strconv.Atoi(match[1])
		line = told
		for near := max(told-1, 1); near <= min(told+2, len(lines)); near++ {
			if failsWith(near) {
				line = near
				break
			}
		}
	} else {
		line = 1 + sort.Search(len(lines)-1, func(i int) bool { return failsWith(i + 1) })
	}
	if strings.Contains(message, "unknown anchor") || strings.Contains(message, "alphabetic or numeric character") {
		message += aliasHint
	}
	return &Problem{Line: line, Message: message}
}
