package config

import (
	"encoding"
	"strings"
	"time"
)

// Duration is a length of time that a file writes as Go does: 10s, 2m30s.
type Duration struct {
	time.Duration
}

var _ encoding.TextMarshaler = Duration{}

// String leaves out what is zero at the end: 2m, where Go has 2m0s.
func (d Duration) String() string {
	text := d.Duration.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText writes what Load and Parse read.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
