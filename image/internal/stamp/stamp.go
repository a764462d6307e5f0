// Package stamp says which release something is: the same stamp and the same inputs give the same bytes.
package stamp

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Stamp names a release and its source.
type Stamp struct {
	Version  string
	Revision string    // the commit
	Created  time.Time // whole seconds, UTC; also the time of every file
}

// epochVariable is defined by https://reproducible-builds.org/specs/source-date-epoch/
const epochVariable = "SOURCE_DATE_EPOCH"

var (
	tag    = regexp.MustCompile(`^[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}$`)
	semver = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)
)

// New holds version and revision to what may stand in an image's tag. epoch is the value of SOURCE_DATE_EPOCH.
func New(version, revision, epoch string) (Stamp, error) {
	if version == "" || revision == "" {
		return Stamp{}, fmt.Errorf("--version and --revision are required: a release without them cannot be traced to its source")
	}
	for _, flag := range []struct{ name, value string }{{"version", version}, {"revision", revision}} {
		if !tag.MatchString(flag.value) {
			return Stamp{}, fmt.Errorf("--%s is %q, want up to 128 letters, digits, and _ . -, as in an image's tag", flag.name, flag.value)
		}
	}
	if strings.EqualFold(version, "latest") {
		return Stamp{}, fmt.Errorf("--version is %q: a build must not call itself the latest release; give its version", version)
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds < 0 {
		return Stamp{}, fmt.Errorf("%s is %q, want the commit's time in seconds: export %s=$(git log -1 --format=%%ct)", epochVariable, epoch, epochVariable)
	}
	return Stamp{Version: version, Revision: revision, Created: time.Unix(seconds, 0).UTC()}, nil
}

// Released refuses a stamp that does not name a release, such as that of a build without a version.
func (s Stamp) Released() error {
	if !semver.MatchString(s.Version) {
		return fmt.Errorf("--version is %q, want a release such as v1.2.3 or v1.2.3-rc.1", s.Version)
	}
	return nil
}
