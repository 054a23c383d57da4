// toml++ behind toml.h. Its tree is copied once into nodes of ours: tables of toml++ are sorted by
// key, and who reads a configuration wants them in the order of the file. No exception leaves this
// file: without memory the program ends, as it does everywhere else (src/base/mem.h).

#define TOML_EXCEPTIONS        0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "toml.h"

struct toml_node {
	struct member {
		std::string key; // "" in an array
		toml::source_position at;
		std::unique_ptr<toml_node> value;
	};

	toml_type type = TOML_OTHER;
	unsigned line = 1;
	std::string string;
	int64_t integer = 0;
	bool boolean = false;
	std::vector<member> members;
};

struct toml_doc {
	toml_node root;
};

namespace
{

// toml++ bounds the depth of nesting while it parses, so this recursion has a bottom.
void fill(toml_node &to, const toml::node &from)
{
	// What is only implied (the table above [a.b]) may stand nowhere in the file.
	to.line = std::max<unsigned>(1, from.source().begin.line);
	if (const toml::table *table = from.as_table()) {
		to.type = TOML_TABLE;
		for (auto &&[key, value] : *table) {
			to.members.push_back({std::string(key.str()), key.source().begin,
			                      std::make_unique<toml_node>()});
			fill(*to.members.back().value, value);
		}
		std::stable_sort(to.members.begin(), to.members.end(),
		                 [](const auto &a, const auto &b) {
			                 return std::tie(a.at.line, a.at.column) <
			                        std::tie(b.at.line, b.at.column);
		                 });
	} else if (const toml::array *array = from.as_array()) {
		to.type = TOML_ARRAY;
		for (auto &&value : *array) {
			to.members.push_back(
			        {"", value.source().begin, std::make_unique<toml_node>()});
			fill(*to.members.back().value, value);
		}
	} else if (const auto *string = from.as_string()) {
		to.type = TOML_STRING;
		to.string = string->get();
	} else if (const auto *integer = from.as_integer()) {
		to.type = TOML_INTEGER;
		to.integer = integer->get();
	} else if (from.is_floating_point()) {
		to.type = TOML_FLOAT;
	} else if (const auto *boolean = from.as_boolean()) {
		to.type = TOML_BOOLEAN;
		to.boolean = boolean->get();
	}
}

} // namespace

struct toml_doc *toml_parse(const char *text, size_t n, char **error, unsigned *line)
{
	toml::parse_result result = toml::parse(std::string_view(text, n));

	if (!result) {
		std::string said(result.error().description());

		*line = std::max<unsigned>(1, result.error().source().begin.line);
		*error = strdup(said.c_str());
		return nullptr;
	}
	auto doc = std::make_unique<toml_doc>();
	fill(doc->root, result.table());
	return doc.release();
}

void toml_free(struct toml_doc *d)
{
	delete d;
}

const struct toml_node *toml_root(const struct toml_doc *d)
{
	return &d->root;
}

enum toml_type toml_type_of(const struct toml_node *n)
{
	return n->type;
}

unsigned toml_line(const struct toml_node *n)
{
	return n->line;
}

size_t toml_count(const struct toml_node *n)
{
	return n->members.size();
}

const struct toml_node *toml_get(const struct toml_node *table, const char *key)
{
	if (table->type != TOML_TABLE)
		return nullptr;
	for (const auto &m : table->members)
		if (m.key == key)
			return m.value.get();
	return nullptr;
}

const struct toml_node *toml_at(const struct toml_node *array, size_t i)
{
	return array->type == TOML_ARRAY && i < array->members.size()
	               ? array->members[i].value.get()
	               : nullptr;
}

const char *toml_key_at(const struct toml_node *table, size_t i, const struct toml_node **value,
                        unsigned *line)
{
	if (table->type != TOML_TABLE || i >= table->members.size())
		return nullptr;
	const auto &m = table->members[i];
	if (value != nullptr)
		*value = m.value.get();
	if (line != nullptr)
		*line = std::max<unsigned>(1, m.at.line);
	return m.key.c_str();
}

const char *toml_string(const struct toml_node *n, size_t *len)
{
	if (n->type != TOML_STRING)
		return nullptr;
	if (len != nullptr)
		*len = n->string.size();
	return n->string.c_str();
}

bool toml_integer(const struct toml_node *n, int64_t *out)
{
	if (n->type != TOML_INTEGER)
		return false;
	*out = n->integer;
	return true;
}

bool toml_boolean(const struct toml_node *n, bool *out)
{
	if (n->type != TOML_BOOLEAN)
		return false;
	*out = n->boolean;
	return true;
}
