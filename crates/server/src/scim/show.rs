//! People, groups, errors and what is offered, as SCIM's documents.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use ringfence_engine::team::directory::{DirectoryGroup, DirectoryUser};
use serde_json::{Value, json};

use super::{BASE, MEDIA_TYPE};
use crate::problem::{Kind, Problem};

const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// SCIM's word for what went wrong, carried beside the problem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Why(pub(crate) &'static str);

/// A document as an answer.
pub(super) fn document(status: StatusCode, document: &Value) -> Response {
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

/// A problem in SCIM's words (RFC 7644, section 3.12).
pub(crate) fn error(problem: &Problem, why: Option<Why>) -> Response {
    let kind = problem.kind();
    // What the request's content makes impossible is a 400 here.
    let (status, usual) = match kind {
        Kind::Unprocessable => (StatusCode::BAD_REQUEST, Some("invalidValue")),
        Kind::Malformed => (StatusCode::BAD_REQUEST, Some("invalidSyntax")),
        Kind::Conflict => (StatusCode::CONFLICT, Some("uniqueness")),
        other => (other.status(), None),
    };
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": status.as_u16().to_string(),
        "detail": problem.detail().map_or_else(
            || std::iter::once(kind.title()).chain(problem.reasons().iter().map(String::as_str)).collect::<Vec<_>>().join("; "),
            str::to_owned,
        ),
    });
    if let (Some(word), Some(fields)) = (why.map(|Why(word)| word).or(usual), body.as_object_mut()) {
        fields.insert("scimType".to_owned(), word.into());
    }
    let mut response = document(status, &body);
    problem.mark(&mut response);
    *response.status_mut() = status;
    response
}

/// A person (RFC 7643, section 4.1).
pub(super) fn user(user: &DirectoryUser, place: &str) -> Value {
    let groups: Vec<Value> = user
        .groups
        .iter()
        .map(|(id, name)| json!({"value": id, "display": name, "$ref": format!("{place}{BASE}/Groups/{id}"), "type": "direct"}))
        .collect();
    let mut document = json!({
        "schemas": [USER_SCHEMA],
        "id": user.id,
        "userName": user.name,
        "displayName": user.display,
        "name": {"formatted": user.display},
        "active": user.active,
        "groups": groups,
        "meta": {
            "resourceType": "User",
            "created": user.since,
            "location": format!("{place}{BASE}/Users/{}", user.id),
        },
    });
    if let (Some(id), Some(fields)) = (&user.external_id, document.as_object_mut()) {
        fields.insert("externalId".to_owned(), json!(id));
    }
    document
}

/// A group (RFC 7643, section 4.2).
pub(super) fn group(group: &DirectoryGroup, place: &str) -> Value {
    let members: Vec<Value> = group
        .members
        .iter()
        .map(|(id, display)| {
            json!({"value": id, "display": display, "type": "User", "$ref": format!("{place}{BASE}/Users/{id}")})
        })
        .collect();
    let mut document = json!({
        "schemas": [GROUP_SCHEMA],
        "id": group.id,
        "displayName": group.name,
        "members": members,
        "meta": {
            "resourceType": "Group",
            "created": group.since,
            "location": format!("{place}{BASE}/Groups/{}", group.id),
        },
    });
    if let (Some(id), Some(fields)) = (&group.external_id, document.as_object_mut()) {
        fields.insert("externalId".to_owned(), json!(id));
    }
    document
}

/// What of the protocol is offered (RFC 7643, section 5).
pub(super) fn provider() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": super::query::COUNT_MAX},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": false},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A token of a program, good for `provision`.",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": format!("{BASE}/ServiceProviderConfig")},
    })
}

fn listed(resources: &[Value]) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": resources.len(),
        "startIndex": 1,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

/// What there is (RFC 7643, section 6).
pub(super) fn resource_types() -> Value {
    let kind = |id: &str, endpoint: &str, schema: &str| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": id,
            "name": id,
            "endpoint": endpoint,
            "schema": schema,
            "meta": {"resourceType": "ResourceType", "location": format!("{BASE}/ResourceTypes/{id}")},
        })
    };
    listed(&[kind("User", "/Users", USER_SCHEMA), kind("Group", "/Groups", GROUP_SCHEMA)])
}

/// The attributes that are kept (RFC 7643, section 7); others are read past.
pub(super) fn schemas() -> Value {
    let attribute = |name: &str, kind: &str, required: bool, mutability: &str, uniqueness: &str| {
        json!({
            "name": name, "type": kind, "multiValued": false, "description": name, "required": required, "caseExact": false,
            "mutability": mutability, "returned": "default", "uniqueness": uniqueness,
        })
    };
    let refer = |name: &str, mutability: &str| {
        let part = |name: &str| attribute(name, "string", false, mutability, "none");
        json!({
            "name": name, "type": "complex", "multiValued": true, "description": name, "required": false,
            "mutability": mutability, "returned": "default", "subAttributes": [part("value"), part("display")],
        })
    };
    let schema = |id: &str, name: &str, attributes: Vec<Value>| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": id,
            "name": name,
            "description": name,
            "attributes": attributes,
            "meta": {"resourceType": "Schema", "location": format!("{BASE}/Schemas/{id}")},
        })
    };
    let user = vec![
        attribute("userName", "string", true, "readWrite", "server"),
        attribute("displayName", "string", false, "readWrite", "none"),
        attribute("externalId", "string", false, "readWrite", "none"),
        attribute("active", "boolean", false, "readWrite", "none"),
        refer("groups", "readOnly"),
    ];
    let group = vec![
        attribute("displayName", "string", true, "readWrite", "server"),
        attribute("externalId", "string", false, "readWrite", "none"),
        refer("members", "readWrite"),
    ];
    listed(&[schema(USER_SCHEMA, "User", user), schema(GROUP_SCHEMA, "Group", group)])
}
