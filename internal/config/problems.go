package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What an Error holds at most, and what each of its texts does. A file with more mistakes is not a configuration file.
const (
	maxProblems  = 100
	maxTextBytes = 400
)

// Error lists what is wrong with a configuration file: everything that could be told from one reading.
type Error struct {
	// File is the name that Load or Parse was given.
	File string
	// Problems are in the order of their lines, at most 100.
	Problems []Problem
	// Omitted counts the problems beyond those.
	Omitted int
}

// Problem is one mistake.
type Problem struct {
	// Line counts from 1. What is missing has the line of what it is missing from.
	Line int `json:"line"`
	// Path is written as in agents[1].id; it is empty if the file as a whole is meant.
	Path string `json:"path"`
	// Message begins lower-case and does not repeat the path. Where a value could be a secret it does not repeat that
	// either.
	Message string `json:"message"`
}

var _ error = (*Error)(nil)

// newError returns nil where there are no problems.
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

// problemOf gives a validation error of apimachinery our form.
func problemOf(err *field.Error, line int) Problem {
	message := err.ErrorBody()
	return Problem{Line: line, Path: err.Field, Message: strings.ToLower(message[:1]) + message[1:]}
}

// oneLine cuts a text that may quote something of any length and any form.
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
