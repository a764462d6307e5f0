package config

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/file"
)

// maxFileBytes bounds a configuration file: 1 MiB, several thousand agents.
const maxFileBytes = 1 << 20

// Load reads a configuration file and the files that it names. Relative names of files are relative to the directory of
// the configuration file; the Configuration has them resolved. Whatever is wrong with the file, or with a file that it
// names, is listed in one *Error. Any other error says that the configuration file itself could not be read.
func Load(path string) (*Configuration, error) {
	data, err := file.Read(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return build(path, data, func(c *Configuration) (field.ErrorList, []Problem) {
		c.resolveFiles(path)
		return c.checkFiles(), c.exposedFiles(path)
	})
}

// Parse reads a configuration from memory: as Load, but it neither resolves nor opens the files that are named in it.
// The name stands for the file in an *Error, the only kind of error there is.
func Parse(name string, data []byte) (*Configuration, error) {
	return build(name, data, func(*Configuration) (field.ErrorList, []Problem) { return nil, nil })
}

// build goes from text to a valid Configuration, and collects what is wrong on the way.
func build(name string, data []byte, checkFiles func(*Configuration) (field.ErrorList, []Problem)) (*Configuration, error) {
	root, problem := parseDocument(data)
	if problem != nil {
		return nil, newError(name, []Problem{*problem})
	}
	configuration := Default()
	decoded := decode(root, configuration)
	decoded.check(reflect.ValueOf(configuration).Elem(), nil)
	problems := decoded.problems
	invalidFiles, exposedFiles := checkFiles(configuration)
	for _, err := range append(configuration.validate(), invalidFiles...) {
		if decoded.wasRead(err.Field) {
			problems = append(problems, problemOf(err, decoded.line(err.Field)))
		}
	}
	if err := newError(name, problems); err != nil {
		return nil, err
	}
	configuration.Warnings = append(configuration.warnings(), exposedFiles...)
	for i := range configuration.Warnings {
		configuration.Warnings[i].Line = decoded.line(configuration.Warnings[i].Path)
	}
	sortProblems(configuration.Warnings)
	return configuration, nil
}
