// Backstage's own catalog client against a running cuelight: every method, pages to the end in both
// directions, and refusals. Run by scripts/test-backstage, which says where cuelight and the client are.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { before, test } from 'node:test';

const { CUELIGHT_URL, CUELIGHT_TOKEN, CUELIGHT_ENTITIES, CLIENT_MODULES } = process.env;
const require = createRequire(`${CLIENT_MODULES}/`);
const { CatalogClient } = require('@backstage/catalog-client');

const discoveryApi = { getBaseUrl: async plugin => `${CUELIGHT_URL}/api/${plugin}` };
const client = new CatalogClient({ discoveryApi });
const total = Number(CUELIGHT_ENTITIES);
const desk = 'component:default/print-desk';
const file = 'https://github.com/ink/press/blob/main/catalog-info.yaml';

/** Each call with the token; a call that takes longer than this is a hang. */
const options = { token: CUELIGHT_TOKEN };
const timeout = 20_000;

/** A test with a limit. */
const check = (name, body) => test(name, { timeout }, body);

const names = items => items.map(item => item.metadata.name);

/** What a refused call says: the status and the name of the error. */
async function refused(call, status, name) {
  await assert.rejects(call, error => {
    assert.equal(error.statusCode ?? error.response?.status, status, String(error));
    assert.equal(error.cause?.name, name, String(error));
    return true;
  });
}

before(
  async () => {
    for (;;) {
      try {
        const { totalItems } = await client.queryEntities({ limit: 0 }, options);
        if (totalItems === total) return;
        assert.ok(totalItems < total, `${totalItems} entities`);
      } catch (error) {
        // While the catalog is loaded.
        if (error.statusCode !== 503) throw error;
      }
      await new Promise(resolve => setTimeout(resolve, 100));
    }
  },
  { timeout: 60_000 },
);

check('getEntities: all of them, with a filter, with fields, ordered, in pages', async () => {
  const all = await client.getEntities({}, options);
  assert.equal(all.items.length, total);
  const components = await client.getEntities(
    {
      filter: [{ kind: 'component', 'spec.type': ['service', 'website'] }, { kind: 'user' }],
      fields: ['metadata.name'],
      order: { field: 'metadata.name', order: 'desc' },
    },
    options,
  );
  const expected = [{ name: 'zine' }, { name: 'web-shop' }, { name: 'Print-Desk' }, { name: 'ada' }];
  assert.deepEqual(components.items.map(item => item.metadata), expected);
  const { CATALOG_FILTER_EXISTS } = require('@backstage/catalog-client');
  const titled = await client.getEntities(
    { filter: { 'metadata.title': CATALOG_FILTER_EXISTS }, limit: 2, offset: 1 },
    options,
  );
  assert.deepEqual(names(titled.items), ['Print-Desk', 'Press']);
});

check('getEntitiesByRefs: in order, undefined for what is not there', async () => {
  const refs = ['user:default/ada', 'component:default/nope', desk, desk];
  const { items } = await client.getEntitiesByRefs({ entityRefs: refs }, options);
  assert.equal(items[1], undefined);
  assert.deepEqual(names([items[0], items[2], items[3]]), ['ada', 'Print-Desk', 'Print-Desk']);
  const many = Array.from({ length: 200 }, (_, n) => {
    return `component:default/parts-1-${String(n).padStart(3, '0')}`;
  });
  const found = await client.getEntitiesByRefs(
    { entityRefs: many, fields: ['kind', 'metadata.name', 'metadata.namespace'] },
    options,
  );
  assert.equal(found.items.filter(Boolean).length, 200);
});

check('getEntityByRef and getEntityByName: undefined for what is not there', async () => {
  assert.equal((await client.getEntityByRef(desk, options)).metadata.name, 'Print-Desk');
  const name = { kind: 'Component', namespace: 'default', name: 'PRINT-DESK' };
  assert.equal((await client.getEntityByRef(name, options)).metadata.name, 'Print-Desk');
  assert.equal((await client.getEntityByName(name, options)).metadata.name, 'Print-Desk');
  assert.equal(await client.getEntityByRef('component:default/nope', options), undefined);
});

/** Walks to the last page and back, and gives the pages. */
async function walk(request) {
  const pages = [];
  let page = await client.queryEntities(request, options);
  pages.push(names(page.items));
  const { limit, fields } = request;
  while (page.pageInfo.nextCursor) {
    page = await client.queryEntities({ cursor: page.pageInfo.nextCursor, limit, fields }, options);
    pages.push(names(page.items));
  }
  const back = [names(page.items)];
  while (page.pageInfo.prevCursor) {
    page = await client.queryEntities({ cursor: page.pageInfo.prevCursor, limit, fields }, options);
    back.unshift(names(page.items));
  }
  assert.deepEqual(back, pages, 'the way back shows the same pages');
  return pages;
}

check('queryEntities: cursors to the end and back', async () => {
  const fields = ['metadata.name'];
  const parts = await walk({
    filter: { 'metadata.tags': 'part' },
    orderFields: { field: 'metadata.name', order: 'asc' },
    limit: 70,
    fields,
  });
  const flat = parts.flat();
  assert.equal(flat.length, total - 19);
  assert.deepEqual(flat, [...flat].sort());
  assert.deepEqual(parts.map(page => page.length), [70, 70, 70, 70, 70, 70, 70, 70, 40]);
  const unordered = await walk({ limit: 200, fields });
  assert.equal(new Set(unordered.flat()).size, total);
});

check('queryEntities: a predicate goes by POST, and so do its pages', async () => {
  const pages = await walk({
    query: { $all: [{ kind: 'component' }, { 'metadata.tags': { $contains: 'part' } }] },
    orderFields: [{ field: 'metadata.name', order: 'desc' }],
    limit: 250,
    fields: ['metadata.name'],
  });
  assert.deepEqual(pages.map(page => page.length), [250, 250, 100]);
  assert.equal(pages[0][0], 'parts-3-199');
});

check('queryEntities: full text and counts', async () => {
  const found = await client.queryEntities(
    {
      fullTextFilter: { term: 'PRINT', fields: ['metadata.title', 'metadata.name'] },
      orderFields: { field: 'metadata.name', order: 'asc' },
    },
    options,
  );
  assert.deepEqual(names(found.items), ['Print-Desk']);
  const uncounted = await client.queryEntities({ limit: 1, totalItems: 'exclude' }, options);
  assert.equal(uncounted.totalItems, 0);
});

check('what the pages of the front end ask', async () => {
  const byName = { field: 'metadata.name', order: 'asc' };
  const readers = 'group:default/readers';

  // The table of the catalog: a page, its count, the pickers beside it.
  const filter = { kind: 'component', 'relations.ownedBy': [readers, 'user:default/ada'] };
  const table = { filter, orderFields: byName, limit: 20, totalItems: 'exclude' };
  const page = await client.queryEntities(table, options);
  assert.equal(page.items.length, 20);
  assert.equal(page.items[0].metadata.name, 'parts-1-000');
  const { totalItems } = await client.queryEntities({ filter, limit: 0 }, options);
  assert.equal(totalItems, total - 16);
  const starred = { ...filter, 'metadata.name': ['web-shop', 'PRINT-DESK', 'nope'] };
  const stars = await client.queryEntities({ filter: starred, limit: 1000, orderFields: byName }, options);
  assert.deepEqual(names(stars.items), ['Print-Desk', 'web-shop']);
  const fields = ['metadata.name', 'kind', 'spec.profile.displayname', 'metadata.title'];
  const owners = await client.queryEntities(
    {
      filter: [{ kind: 'User' }, { kind: 'Group' }],
      fullTextFilter: { term: 'Ada', fields },
      orderFields: byName,
      limit: 20,
    },
    options,
  );
  assert.deepEqual(names(owners.items), ['ada']);
  const facets = ['kind', 'spec.type', 'metadata.tags', 'spec.lifecycle', 'metadata.namespace', 'relations.ownedBy'];
  const counted = await client.getEntityFacets({ facets, filter: { kind: 'component' } }, options);
  assert.deepEqual(Object.keys(counted.facets).sort(), [...facets].sort());
  assert.ok(Object.values(counted.facets).every(values => values.length > 0));

  // A query is asked for page by page as a body: the client looks into the cursor.
  const query = { $all: [{ kind: 'component' }, { 'metadata.tags': { $contains: 'part' } }] };
  const first = await client.queryEntities({ query, orderFields: byName, limit: 400 }, options);
  const cursor = first.pageInfo.nextCursor;
  const rest = await client.queryEntities({ cursor, limit: 400 }, options);
  assert.equal(first.items.length + rest.items.length, first.totalItems);

  // The page of an entity: names of what it is related to, and what would go with its file.
  const entity = await client.getEntityByRef(desk, options);
  const related = await client.getEntitiesByRefs(
    {
      entityRefs: entity.relations.map(({ targetRef }) => targetRef),
      fields: ['kind', 'metadata.name', 'metadata.namespace', 'metadata.title', 'metadata.description',
        'spec.profile.displayName', 'spec.type'],
    },
    options,
  );
  assert.equal(related.items.length, entity.relations.length);
  const origin = 'metadata.annotations.backstage.io/managed-by-origin-location';
  const together = await client.getEntities(
    {
      filter: { [origin]: entity.metadata.annotations['backstage.io/managed-by-origin-location'] },
      fields: ['kind', 'metadata.name', 'metadata.namespace', 'metadata.uid'],
    },
    options,
  );
  assert.ok(names(together.items).includes('Print-Desk'));
  assert.ok(together.items.every(item => item.metadata.uid && !item.spec));
});

check('streamEntities: pages until all have come', async () => {
  const seen = [];
  for await (const page of client.streamEntities({ fields: ['metadata.name'] }, options)) {
    seen.push(page.length);
  }
  assert.deepEqual(seen, [500, total - 500]);
  let parts = 0;
  const request = { filter: { 'metadata.tags': 'part' }, pageSize: 33 };
  for await (const page of client.streamEntities(request, options)) parts += page.length;
  assert.equal(parts, total - 19);
});

check('getEntityFacets: counts', async () => {
  const { facets } = await client.getEntityFacets(
    { facets: ['kind', 'metadata.tags'], filter: { kind: ['component', 'system'] } },
    options,
  );
  assert.deepEqual(facets.kind, [
    { value: 'Component', count: total - 14 },
    { value: 'System', count: 1 },
  ]);
  assert.ok(facets['metadata.tags'].some(({ value, count }) => value === 'rust' && count === 2));
  const predicate = await client.getEntityFacets(
    { facets: ['spec.type'], query: { kind: 'api' } },
    options,
  );
  assert.deepEqual(predicate.facets['spec.type'], [
    { value: 'grpc', count: 1 },
    { value: 'openapi', count: 1 },
  ]);
});

check('getEntityAncestors: up to the file', async () => {
  const { rootEntityRef, items } = await client.getEntityAncestors({ entityRef: desk }, options);
  assert.equal(rootEntityRef, desk);
  assert.deepEqual(items.map(item => item.entity.kind), ['Component', 'Location']);
  await refused(
    () => client.getEntityAncestors({ entityRef: 'component:default/nope' }, options),
    404,
    'NotFoundError',
  );
});

check('locations: listed, asked for, streamed, by id, ref and entity', async () => {
  const { items } = await client.getLocations({}, options);
  assert.equal(items.length, 6);
  const location = items.find(({ target }) => target === file);
  assert.deepEqual(await client.getLocationById(location.id, options), location);
  assert.equal(await client.getLocationById('nope', options), undefined);
  assert.deepEqual(await client.getLocationByRef(`url:${file}`, options), location);
  assert.equal(await client.getLocationByRef('url:https://nowhere.example/x', options), undefined);
  assert.deepEqual(await client.getLocationByEntity(desk, options), location);
  assert.equal(await client.getLocationByEntity('component:default/nope', options), undefined);
  const query = { target: { $hasPrefix: 'https://github.com/ink/parts' } };
  const first = await client.queryLocations({ query, limit: 2 }, options);
  assert.deepEqual([first.items.length, first.totalItems], [2, 3]);
  const { nextCursor: cursor } = first.pageInfo;
  const second = await client.queryLocations({ cursor }, options);
  assert.deepEqual([second.items.length, second.pageInfo.nextCursor], [1, undefined]);
  const streamed = [];
  for await (const page of client.streamLocations({ limit: 4 }, options)) streamed.push(...page);
  assert.equal(new Set(streamed.map(({ id }) => id)).size, 6);
});

check('refreshEntity: taken for what is there', async () => {
  await client.refreshEntity(desk, options);
  await refused(() => client.refreshEntity('component:default/nope', options), 404, 'NotFoundError');
});

check('validateEntity: valid, or every error', async () => {
  const entity = {
    apiVersion: 'backstage.io/v1alpha1',
    kind: 'Component',
    metadata: { name: 'new' },
    spec: { type: 'service', lifecycle: 'production', owner: 'readers' },
  };
  assert.deepEqual(await client.validateEntity(entity, `url:${file}`, options), { valid: true });
  const bad = { ...entity, metadata: { name: 'a b' }, spec: { type: 'service' } };
  const { valid, errors } = await client.validateEntity(bad, `url:${file}`, options);
  assert.equal(valid, false);
  assert.match(errors[0].message, /"metadata.name" is not valid/);
  assert.ok(errors.length >= 1);
});

check('analyzeLocation: what is known, and what a first file could say', async () => {
  const known = { location: { type: 'url', target: 'https://github.com/ink/press' } };
  const { existingEntityFiles } = await client.analyzeLocation(known, options);
  assert.ok(existingEntityFiles.length >= 11);
  const unknown = { location: { type: 'url', target: 'https://github.com/ink/nothing' } };
  const { generateEntities } = await client.analyzeLocation(unknown, options);
  assert.equal(generateEntities[0].entity.metadata.name, 'nothing');
});

check('addLocation: rehearsed for a file that is known, else refused', async () => {
  const rehearsal = await client.addLocation({ target: file, dryRun: true }, options);
  assert.equal(rehearsal.exists, true);
  assert.ok(rehearsal.entities.length >= 11);
  await refused(() => client.addLocation({ target: file }, options), 403, 'NotAllowedError');
});

check('writes: refused, and nothing has changed', async () => {
  const [{ id }] = (await client.getLocations({}, options)).items;
  const { uid } = (await client.getEntityByRef(desk, options)).metadata;
  await refused(() => client.updateLocation(id, { target: file }, options), 403, 'NotAllowedError');
  await refused(() => client.removeLocationById(id, options), 403, 'NotAllowedError');
  await refused(() => client.removeEntityByUid(uid, options), 403, 'NotAllowedError');
  assert.equal((await client.queryEntities({ limit: 0 }, options)).totalItems, total);
});

check('without a good token nothing is told', async () => {
  await refused(() => client.getEntities({}, {}), 401, 'AuthenticationError');
  await refused(() => client.getEntityFacets({ facets: ['kind'] }, { token: 'wrong' }), 401, 'AuthenticationError');
  await refused(() => client.getEntityByRef(desk, { token: 'wrong' }), 401, 'AuthenticationError');
});

test('no method of the client was left out', () => {
  const own = Object.getOwnPropertyNames(CatalogClient.prototype);
  const inner = ['constructor', 'requestIgnored', 'requestRequired', 'requestOptional'];
  const asked = [
    'getEntityAncestors', 'getLocations', 'queryLocations', 'streamLocations', 'getLocationById',
    'getLocationByEntity', 'getEntities', 'getEntitiesByRefs', 'queryEntities', 'queryEntitiesByPredicate',
    'getEntityByRef', 'getEntityByName', 'refreshEntity', 'getEntityFacets', 'getEntityFacetsByPredicate',
    'addLocation', 'getLocationByRef', 'updateLocation', 'removeLocationById', 'removeEntityByUid',
    'validateEntity', 'analyzeLocation', 'streamEntities', 'getFilterValue',
  ];
  assert.deepEqual(own.filter(name => !inner.includes(name) && !asked.includes(name)), []);
});
