package gitlab

import (
	"fmt"
	"net/url"
	"strings"
)

// maxName bounds the names of refs and environments, in bytes, in questions and in answers. Git's own bound is that of a
// file name per component, GitLab's for environments is 255 characters; escaped, this many bytes fit any request line.
const maxName = 1024

// checkName refuses what nothing in GitLab can be called, and what must therefore not be asked for: an empty last
// segment would ask another endpoint.
func checkName(what, name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("%s with a name of %d bytes: %w", what, len(name), ErrNotFound)
	}
	return nil
}

// expand puts values in the places of the endpoint's placeholders (the segments that begin with a colon), in order.
func expand(endpoint string, values []string) string {
	segments := strings.Split(endpoint, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, ":") {
			segments[i], values = escape(values[0]), values[1:]
		}
	}
	return strings.Join(segments, "/")
}

// escape makes one segment of any value, as GitLab wants branch names (%2F for a slash). No path is ever cleaned of a
// dot segment that is written with %2E before it leaves; Git allows no ref of that name.
func escape(value string) string {
	if value == "." || value == ".." {
		return strings.ReplaceAll(value, ".", "%2E")
	}
	return url.PathEscape(value)
}
