package gitlab

import (
	"fmt"

	kjson "sigs.k8s.io/json"
)

// ref is what is read of a branch (lib/api/entities/branch.rb) and of a tag (lib/api/entities/tag.rb).
type ref struct {
	Name string `json:"name"`
	// Protected is nil where GitLab is too old to say.
	Protected *bool `json:"protected"`
}

// protection reads the answer about one ref. An answer about another ref, or about none, is of no use.
func protection(name string) func(answer) (bool, error) {
	return func(a answer) (bool, error) {
		var r ref
		if err := kjson.UnmarshalCaseSensitivePreserveInts(a.body, &r); err != nil {
			return false, fmt.Errorf("decode ref: %w", err)
		}
		if r.Name != name {
			return false, fmt.Errorf("%w: it is about another ref", ErrIncompleteReply)
		}
		return r.protected()
	}
}

func (r ref) protected() (bool, error) {
	if r.Protected == nil {
		return false, fmt.Errorf("%w: not said whether the ref is protected", ErrIncompleteReply)
	}
	return *r.Protected, nil
}
