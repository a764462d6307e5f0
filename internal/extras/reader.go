package extras

import "github.com/jobgate/jobgate/internal/job"

// reader reads extras, each once, and keeps what is wrong with the first that is malformed. It repeats no value.
type reader struct {
	extra  map[string][]string
	unread int
	wrong  string
}

// values looks an extra up. Once all have been read, the rest costs nothing.
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

func (r *reader) truth(key string) job.Fact[bool] {
	value, found := r.one(key)
	if !found {
		return job.Fact[bool]{}
	}
	if value != "true" && value != "false" {
		r.fail(key, "must be true or false")
		return job.Fact[bool]{}
	}
	return job.KnownFact(value == "true")
}

func (r *reader) id(key string) int64 {
	value, found := r.one(key)
	id, ok := job.ParseID(value)
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
		if !isText(v) {
			r.fail(key, "must have values of 1 to 4096 bytes")
		}
	}
	return values, found
}

// isText says whether the text may be a value of an extra.
func isText(text string) bool { return text != "" && len(text) <= maxText }

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
