package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The bounds of an Error: how many problems it lists, and how long each text is.
const (
	maxProblems  = 100
	maxTextBytes = 400
)

// Error lists everything that is wrong with a configuration file.
type Error struct {
	// File is the name that Load or Parse was given.
	File string
	// Problems are in the order of their lines, at most 100.
	Problems []Problem
	// Omitted counts the problems beyond those.
	Omitted int
}

// Problem is one mistake, or one warning.
type Problem struct {
	// Line counts from 1. A missing key has the line of the object that it is missing from.
	Line int `json:"line"`
	// Path is the key, such as agents[1].id. It is empty for the file as a whole.
	Path string `json:"path"`
	// Message begins lower-case, and repeats neither the path nor a value that could be a secret.
	Message string `json:"message"`
}

var _ error = (*Error)(nil)

// newError returns nil if there are no problems.
func newError(file string, problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	sortProblems(problems)
	listed := problems[:min(len(problems), maxProblems)]
	return &Error{File: file, Problems: listed, Omitted: len(problems) - len(listed)}
}

// sortProblems puts problems into the order of their lines, and each on one line of text.
func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path))
	})
	for i := range problems[:min(len(problems), maxProblems)] {
		problems[i].Path = oneLine(problems[i].Path)
		problems[i].Message = oneLine(problems[i].Message)
	}
}

// Error has one line for each problem: config.yaml:12: agents[1].id: duplicate value: 4.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, problem := range e.Problems {
		lines = append(lines, e.File+":"+problem.String())
	}
	if e.Omitted > 0 {
		lines = append(lines, fmt.Sprintf("%s: and %d more problems", e.File, e.Omitted))
	}
	return strings.Join(lines, "\n")
}

// String is the problem without the file.
func (p Problem) String() string {
	if p.Path == "" {
		return fmt.Sprintf("%d: %s", p.Line, p.Message)
	}
	return fmt.Sprintf("%d: %s: %s", p.Line, p.Path, p.Message)
}

// problemOf says in plain words what a validation error of apimachinery is about.
func problemOf(err *field.Error, line int) Problem {
	message := err.Detail
	quoted := fmt.Sprintf("%v", err.BadValue)
	if text, ok := err.BadValue.(string); ok {
		quoted = strconv.Quote(text)
	}
	switch _, omitted := err.BadValue.(field.OmitValueType); {
	case err.Type == field.ErrorTypeRequired && strings.HasPrefix(message, "must "), err.Type == field.ErrorTypeForbidden, omitted:
	case err.Type == field.ErrorTypeRequired:
		message = "is required: " + message
	case err.Type == field.ErrorTypeDuplicate:
		message = "duplicate value: " + quoted
	case err.Type == field.ErrorTypeNotSupported:
		message = "must be one of " + strings.TrimPrefix(err.Detail, "supported values: ") + ", not " + quoted
	case strings.HasPrefix(message, "must not "):
		message += ": " + quoted
	case strings.HasPrefix(message, "must "):
		message += ", not " + quoted
	default:
		message = quoted + ": " + message
	}
	return Problem{Line: line, Path: err.Field, Message: message}
}

// oneLine shortens a text that may quote anything, and keeps it on one line.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if len(text) <= maxTextBytes {
		return text
	}
	return strings.ToValidUTF8(text[:maxTextBytes], "") + "..."
}
