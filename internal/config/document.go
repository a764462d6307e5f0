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

// parseDocument reads the one YAML document of a file into nodes, which know their lines. Reading nodes follows no
// alias, so the result is no larger than the text.
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
		return nil, &Problem{Line: line, Message: "must be the only YAML document in the file, not one of several"}
	}
	return documents[0].Content[0], nil
}

// readDocuments reads no more than two, which is one too many.
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

// yamlErrorLine is how the errors of the YAML parser tell a line, if they do: they have it only as text.
var yamlErrorLine = regexp.MustCompile(`yaml: (?:line (\d+): )?`)

// aliasHint helps with what an unquoted pattern such as *-prod turns into.
const aliasHint = ": put what begins with * in quotes"

// syntaxProblem says where a file stops being YAML.
//
// The parser names no line for some mistakes, and for others one that is a line or two away, for it counts from 0 or
// from 1 and means the mistake or what it is in. The exact one is that with which the text begins to fail in this way.
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
