package config

import (
	"fmt"
	"io"
	"os"
	"reflect"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxFileBytes bounds a configuration file: 1 MiB, several thousand agents.
const maxFileBytes = 1 << 20

// Load reads a configuration file and the files that it names. Relative names of files are relative to the directory of
// the configuration file; the Configuration has them resolved. Whatever is wrong with the file, or with a file that it
// names, is listed in one *Error. Any other error says that the configuration file itself could not be read.
func Load(file string) (*Configuration, error) {
	data, err := readBounded(file)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return build(file, data, func(c *Configuration) field.ErrorList {
		c.resolveFiles(file)
		return c.checkFiles()
	})
}

// Parse reads a configuration from memory: as Load, but it neither resolves nor opens the files that are named in it.
// The name stands for the file in an *Error, the only kind of error there is.
func Parse(name string, data []byte) (*Configuration, error) {
	return build(name, data, func(*Configuration) field.ErrorList { return nil })
}

// build goes from text to a valid Configuration, and collects what is wrong on the way.
func build(name string, data []byte, checkFiles func(*Configuration) field.ErrorList) (*Configuration, error) {
	root, problem := parseDocument(data)
	if problem != nil {
		return nil, newError(name, []Problem{*problem})
	}
	configuration := Default()
	decoded := decode(root, configuration)
	decoded.check(reflect.ValueOf(configuration).Elem(), nil)
	problems := decoded.problems
	for _, err := range append(configuration.validate(), checkFiles(configuration)...) {
		if decoded.wasRead(err.Field) {
			problems = append(problems, problemOf(err, decoded.line(err.Field)))
		}
	}
	if err := newError(name, problems); err != nil {
		return nil, err
	}
	return configuration, nil
}

// readBounded reads at most one byte more than a configuration file may have.
func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxFileBytes+1))
}
