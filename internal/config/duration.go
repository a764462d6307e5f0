package config

import (
	"encoding/json"
	"fmt"
	"time"
)

var (
	_ json.Unmarshaler = (*Duration)(nil)
	_ json.Marshaler   = Duration{}
)

// UnmarshalJSON reads a string in the format of time.ParseDuration. It never fails: what is not a duration becomes
// Unparsed, for validation to report. As everywhere in encoding/json, null changes nothing.
func (d *Duration) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var text string
	err := json.Unmarshal(data, &text)
	parsed, parseErr := time.ParseDuration(text)
	if err != nil || parseErr != nil {
		*d = Duration{Unparsed: string(data)}
	} else {
		*d = Duration{Duration: parsed}
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON read.
func (d Duration) MarshalJSON() ([]byte, error) {
	if d.Unparsed != "" {
		return []byte(d.Unparsed), nil
	}
	data, err := json.Marshal(d.String())
	if err != nil {
		return nil, fmt.Errorf("writing a duration: %w", err)
	}
	return data, nil
}
