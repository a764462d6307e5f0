package gitlabtest

import (
	"fmt"
	"strconv"
	"strings"
)

// currentRelease is the GitLab that the fake is unless Settings.Release names another.
const currentRelease = "19.6.0"

// release is a GitLab version as numbers.
type release struct{ major, minor, patch int }

// parseRelease reads 18.3 or 18.2.2; an empty text is the current release.
func parseRelease(text string) (release, error) {
	if text == "" {
		text = currentRelease
	}
	var numbers [3]int
	parts := strings.Split(text, ".")
	if len(parts) < 2 || len(parts) > len(numbers) {
		return release{}, fmt.Errorf("release %q is not of the form 18.3 or 18.2.2", text)
	}
	for i, part := range parts {
		number, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return release{}, fmt.Errorf("release %q is not of the form 18.3 or 18.2.2", text)
		}
		numbers[i] = int(number)
	}
	return release{numbers[0], numbers[1], numbers[2]}, nil
}

func (r release) atLeast(major, minor, patch int) bool {
	switch {
	case r.major != major:
		return r.major > major
	case r.minor != minor:
		return r.minor > minor
	default:
		return r.patch >= patch
	}
}
