package file

import (
	"fmt"
	"io/fs"
	"os"
)

// Kind says which permissions a file should not give.
type Kind fs.FileMode

// The kinds of files.
const (
	// OwnSecret is for its owner alone: the key of a CA.
	OwnSecret Kind = 0o066
	// Secret may be read by its group: a key, an access token.
	Secret Kind = 0o026
	// Trusted may be read by every user and changed by its owner alone: a configuration, a bundle of CAs, a directory of keys.
	Trusted Kind = 0o022
)

// Exposed says what the mode of a file or directory gives away, and which command takes it back; "" if it gives nothing
// away. It returns "" also for a file that cannot be looked at: the attempt to read it says why.
func Exposed(path string, k Kind) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return k.Problem(path, info.Mode())
}

// Problem is Exposed for a file whose mode is known.
func (k Kind) Problem(path string, mode fs.FileMode) string {
	mode = mode.Perm()
	exposed := mode & fs.FileMode(k)
	if exposed == 0 || !hasModes {
		return ""
	}
	who, rights := "every user", exposed&0o007
	if rights == 0 {
		who, rights = "its group", exposed>>3
	}
	what := map[fs.FileMode]string{0o2: "change", 0o4: "read", 0o6: "read and change"}[rights]
	return fmt.Sprintf("%s may %s it (mode %04o); run chmod %04o %s", who, what, mode, k.Fix(mode), path)
}

// Fix is a mode without what it should not give.
func (k Kind) Fix(mode fs.FileMode) fs.FileMode {
	mode &^= fs.FileMode(k)
	if k != Trusted {
		mode &^= 0o111 // no one runs a key
	}
	return mode
}
