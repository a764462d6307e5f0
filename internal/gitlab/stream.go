package gitlab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	kjson "sigs.k8s.io/json"
)

const (
	// maxToken bounds one string of a reply and each part of it that is decoded as a whole.
	maxToken = 1 << 20
	// maxConfiguration bounds one agent's configuration, in bytes of compact JSON.
	maxConfiguration = 64 << 10
)

// readAllowedAgents reads a reply as it comes. Of the agents it keeps those wanted, or all for nil, so that other agents'
// entries cost no memory, however many and however large they are. It is strict on what identities are made of and
// tolerant of the rest.
func readAllowedAgents(r io.Reader, wanted map[int64]bool) (*AllowedAgents, error) {
	bounded := &tokenReader{r: r}
	d := jsontext.NewDecoder(bounded, jsontext.AllowDuplicateNames(true))
	bounded.decoder = d
	reply := &allowedAgentsReply{}
	if err := reply.read(d, wanted); err != nil {
		return nil, fmt.Errorf("decode allowed_agents: %w", err)
	}
	switch _, err := d.ReadToken(); {
	case err == nil:
		return nil, errors.New("decode allowed_agents: something follows the reply")
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("decode allowed_agents: what follows the reply: %w", err)
	}
	if err := reply.check(); err != nil {
		return nil, err
	}
	return reply.result(), nil
}

func (r *allowedAgentsReply) read(d *jsontext.Decoder, wanted map[int64]bool) error {
	if kind := d.PeekKind(); kind != '{' {
		if _, err := d.ReadToken(); err != nil {
			return orUnexpectedEnd(err)
		}
		return errors.New("not an object")
	}
	fields, seen := r.fields(), map[string]bool{}
	return readObject(d, func(key string) error {
		field, known := fields[key]
		if !known && key != "allowed_agents" {
			return d.SkipValue()
		}
		if seen[key] {
			return fmt.Errorf("the key %s is there twice", key)
		}
		seen[key] = true
		if known {
			value, err := d.ReadValue()
			if err != nil {
				return err
			}
			return kjson.UnmarshalCaseSensitivePreserveInts(value, field)
		}
		return r.readAgents(d, wanted)
	})
}

func (r *allowedAgentsReply) readAgents(d *jsontext.Decoder, wanted map[int64]bool) error {
	switch d.PeekKind() {
	case 'n':
		return d.SkipValue()
	case '[':
	default:
		return errors.New("allowed_agents is not a list")
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	seen := map[int64]bool{}
	for d.PeekKind() != ']' {
		agent, err := readAgent(d, func(id int64) bool { return (wanted == nil || wanted[id]) && !seen[id] })
		if err != nil {
			return orUnexpectedEnd(err)
		}
		if agent != nil {
			seen[agent.ID] = true
			r.Agents = append(r.Agents, *agent)
		}
	}
	_, err := d.ReadToken()
	return err
}

// readAgent reads one entry; nil for one that is not wanted. No request can name an entry without a usable id.
func readAgent(d *jsontext.Decoder, isWanted func(id int64) bool) (*AllowedAgent, error) {
	if d.PeekKind() != '{' {
		return nil, d.SkipValue()
	}
	var agent AllowedAgent
	skip := false // once it is known that the entry is not wanted
	err := readObject(d, func(key string) error {
		if skip {
			return d.SkipValue()
		}
		var err error
		switch key {
		case "id":
			agent.ID, err = readID(d)
			skip = !isWanted(agent.ID)
		case "config_project":
			agent.ConfigProjectID, agent.ConfigProjectPath, err = readConfigProject(d)
		case "configuration":
			agent.Configuration, err = readBounded(d)
			agent.TooLarge = agent.Configuration == nil
		default:
			err = d.SkipValue()
		}
		return err
	})
	if err != nil || agent.ID <= 0 || skip {
		return nil, err
	}
	return &agent, nil
}

func readConfigProject(d *jsontext.Decoder) (id int64, path string, err error) {
	if d.PeekKind() != '{' {
		return 0, "", d.SkipValue()
	}
	err = readObject(d, func(key string) error {
		var err error
		switch key {
		case "id":
			id, err = readID(d)
			id = max(id, 0)
		case "path_with_namespace":
			var value jsontext.Value
			if d.PeekKind() != '"' {
				return d.SkipValue()
			}
			value, err = d.ReadValue()
			path = readName(value)
		default:
			err = d.SkipValue()
		}
		return err
	})
	return id, path, err
}

// readID reads an id; 0 where the value is none.
func readID(d *jsontext.Decoder) (int64, error) {
	if d.PeekKind() != '0' {
		return 0, d.SkipValue()
	}
	value, err := d.ReadValue()
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0, nil //nolint:nilerr // a fraction, or too large: 0 says that it is no id
	}
	return id, nil
}

// readBounded reads a value as compact JSON; nil for one larger than maxConfiguration.
func readBounded(d *jsontext.Decoder) ([]byte, error) {
	var out bytes.Buffer
	e := jsontext.NewEncoder(&out, jsontext.AllowDuplicateNames(true))
	for depth := d.StackDepth(); ; {
		token, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		if e.OutputOffset() <= maxConfiguration {
			if err := e.WriteToken(token); err != nil {
				return nil, err
			}
		}
		if d.StackDepth() == depth {
			break
		}
	}
	if e.OutputOffset() > maxConfiguration {
		return nil, nil
	}
	return bytes.Clone(bytes.TrimSpace(out.Bytes())), nil
}

// readObject calls read for each key of the object that comes next; read must consume the value.
func readObject(d *jsontext.Decoder, read func(key string) error) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		key, err := d.ReadToken()
		if err != nil {
			return orUnexpectedEnd(err)
		}
		if err := read(key.String()); err != nil {
			return orUnexpectedEnd(err)
		}
	}
	_, err := d.ReadToken() // the end, or what is wrong
	return orUnexpectedEnd(err)
}

// orUnexpectedEnd makes an error of an end in the middle.
func orUnexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

var errLongToken = errors.New("a part of the reply is too large")

// tokenReader keeps the decoder from holding more than maxToken bytes of one value.
type tokenReader struct {
	r       io.Reader
	decoder *jsontext.Decoder
	read    int64
}

func (t *tokenReader) Read(p []byte) (int, error) {
	if t.read-t.decoder.InputOffset() > maxToken {
		return 0, errLongToken
	}
	n, err := t.r.Read(p)
	t.read += int64(n)
	return n, err
}
