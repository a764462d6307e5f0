package authz

import (
	"math"

	"github.com/jobgate/jobgate/internal/extras"
)

// Bounds of what is read of extras.
const (
	maxDigits = 19   // of an id: 2^63-1
	maxLabel  = 63   // of a DNS label (RFC 1123)
	maxText   = 4096 // of any other text, in bytes: a ref is as long as a path may be
	maxValues = 64   // of an extra that is a list: GitLab nests at most 20 groups
)

// claims are what an identity says of its job.
type claims struct {
	job, agent, project     int64
	configProject, pipeline int64 // 0 where the identity does not say
	slug, tier              string
	environment             string // the full name; empty where the identity does not say
	ref                     string // empty where the identity does not say
	refProtected            string // "true", "false", or empty where the identity does not say
	// groups and roles are known where the extra is there, though it may be empty. Groups are ids that parseID takes.
	groups, roles           []string
	groupsKnown, rolesKnown bool
	denied                  string
	isDenied                bool
}

func isCIJob(extra map[string][]string) bool {
	_, found := extra[extras.Job]
	return found
}

// read takes the extras of a job, and says in a few words what is wrong with them: empty for nothing. What every decision
// needs must be there: job, agent and project. The rest must be well formed if it is there.
func (c *claims) read(extra map[string][]string) (wrong string) {
	r := reader{extra: extra, unread: len(extra)}
	c.job = r.needID(extras.Job)
	c.agent = r.needID(extras.Agent)
	c.project = r.needID(extras.Project)
	c.configProject = r.id(extras.ConfigProject)
	c.pipeline = r.id(extras.Pipeline)
	r.text(extras.Username)
	c.slug = r.label(extras.Slug)
	c.tier = r.label(extras.Tier)
	c.environment = r.text(extras.Environment)
	c.ref = r.text(extras.Ref)
	c.refProtected = r.truth(extras.RefProtected)
	c.groups, c.groupsKnown = r.list(extras.Group)
	for _, id := range c.groups {
		if _, ok := parseID(id); !ok {
			r.fail(extras.Group, "must be positive decimal numbers")
		}
	}
	c.roles, c.rolesKnown = r.list(extras.Role)
	c.denied, c.isDenied = r.one(extras.Denied)
	if (c.slug == "") != (c.tier == "") {
		r.fail(extras.Slug, "must come together with "+extras.Tier)
	}
	if c.environment != "" && c.slug == "" {
		r.fail(extras.Environment, "must come together with "+extras.Slug)
	}
	return r.wrong
}

// reader reads extras, each once, and keeps what is wrong with the first that is malformed. It repeats no value.
type reader struct {
	extra  map[string][]string
	unread int
	wrong  string
}

// values looks an extra up. Most identities have the documented ones alone, so what comes after those costs nothing.
func (r *reader) values(key string) (values []string, found bool) {
	if r.unread == 0 {
		return nil, false
	}
	if values, found = r.extra[key]; found {
		r.unread--
	}
	return values, found
}

func (r *reader) fail(key, must string) {
	if r.wrong == "" {
		r.wrong = key + " " + must
	}
}

// one reads a single value, and says whether the extra is there.
func (r *reader) one(key string) (string, bool) {
	values, found := r.values(key)
	if !found {
		return "", false
	}
	if len(values) != 1 || len(values[0]) > maxText {
		r.fail(key, "must have one value of at most 4096 bytes")
		return "", true
	}
	return values[0], true
}

func (r *reader) text(key string) string {
	value, found := r.one(key)
	if found && value == "" {
		r.fail(key, "must not be empty")
	}
	return value
}

func (r *reader) label(key string) string {
	value, found := r.one(key)
	if found && !isLabel(value) {
		r.fail(key, "must be a DNS label")
	}
	return value
}

func (r *reader) truth(key string) string {
	value, found := r.one(key)
	if found && value != "true" && value != "false" {
		r.fail(key, "must be true or false")
	}
	return value
}

func (r *reader) id(key string) int64 {
	value, found := r.one(key)
	id, ok := parseID(value)
	if found && !ok {
		r.fail(key, "must be one positive decimal number")
	}
	return id
}

func (r *reader) needID(key string) int64 {
	id := r.id(key)
	if id == 0 {
		r.fail(key, "must be there")
	}
	return id
}

func (r *reader) list(key string) ([]string, bool) {
	values, found := r.values(key)
	if len(values) > maxValues {
		r.fail(key, "must have at most 64 values")
		return nil, found
	}
	for _, v := range values {
		if v == "" || len(v) > maxText {
			r.fail(key, "must have values of 1 to 4096 bytes")
		}
	}
	return values, found
}

// parseID takes canonical decimals from 1 to 2^63-1 only, so that one id has one spelling everywhere. It is written out
// because five ids are read for each request, and strconv takes several times as long.
func parseID(text string) (int64, bool) {
	if text == "" || len(text) > maxDigits || text[0] < '1' || text[0] > '9' {
		return 0, false
	}
	var id uint64 // which holds any number of 19 digits
	for i := range len(text) {
		digit := text[i] - '0'
		if digit > 9 {
			return 0, false
		}
		id = id*10 + uint64(digit)
	}
	if id > math.MaxInt64 {
		return 0, false
	}
	return int64(id), true
}

// isLabel says whether the text is a DNS label of RFC 1123. What GitLab calls a slug or a tier always is.
func isLabel(text string) bool {
	if text == "" || len(text) > maxLabel || text[0] == '-' || text[len(text)-1] == '-' {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
