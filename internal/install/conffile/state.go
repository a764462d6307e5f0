package conffile

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// State is the name of the file in the directory that says what was written last, as sha256sum writes it: in the
// directory, `sha256sum -c .init.sha256` says which files were changed since.
const State = ".init.sha256"

// state is the SHA-256 of what each file was last given, in hexadecimal, by path.
type state map[string]string

// readState returns an empty state where there is none.
func readState(dir string) (state, error) {
	text, _, err := read(dir, State)
	if err != nil {
		return nil, err
	}
	s := state{}
	for number, line := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		sum, name, found := strings.Cut(string(line), "  ")
		if decoded, err := hex.DecodeString(sum); err != nil || len(decoded) != len(hash(nil))/2 || !found || !filepath.IsLocal(name) {
			return nil, fmt.Errorf("%s, line %d: not a SHA-256, two spaces and a file of this folder: restore the file, "+
				"or remove it to have every file compared as if it had not been written from here", filepath.Join(dir, State), number+1)
		}
		s[name] = strings.ToLower(sum)
	}
	return s, nil
}

func (s state) write(dir string) error {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		text.WriteString(s[name] + "  " + name + "\n")
	}
	return replace(filepath.Join(dir, State), []byte(text.String()), 0o644)
}
