# One image for the service and for device hosts; the command selects which.
FROM node:22-slim
WORKDIR /patchbay
COPY package.json package-lock.json prisma.config.ts tsconfig.json ./
COPY prisma ./prisma
COPY openapi ./openapi
COPY src/generating ./src/generating
COPY src/service/database/generating ./src/service/database/generating
COPY src/compiler/generating ./src/compiler/generating
# Sources that the build of the dashboard needs.
COPY web ./web
COPY src/client ./src/client
COPY src/machine/isolation/similarity.ts ./src/machine/isolation/similarity.ts
COPY src/proof ./src/proof
RUN npm ci && mkdir data && chown node data
COPY . .
USER node
VOLUME /patchbay/data
EXPOSE 7070
ENTRYPOINT ["node_modules/.bin/node", "src/cli/patchbay.ts"]
CMD ["serve"]
